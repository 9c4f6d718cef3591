"""Failures as the Temporal UI receives them."""

from __future__ import annotations

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from worker.data_converter import data_converter
from workflows.failures import refusal


def _sent(error: ApplicationError) -> Failure:
    failure = Failure()
    with pytest.raises(ApplicationError) as raised:
        raise error
    data_converter.failure_converter.to_failure(raised.value, data_converter.payload_converter, failure)
    return failure


def test_refusal_has_no_stack_trace() -> None:
    sent = _sent(refusal("It is not paused."))

    assert (sent.message, sent.application_failure_info.type) == ("It is not paused.", "RefusedError")
    assert not sent.stack_trace


def test_other_failures_keep_their_stack_trace() -> None:
    assert "test_data_converter.py" in _sent(ApplicationError("away", type="UnreachableError")).stack_trace
