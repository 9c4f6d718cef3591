"""Converts values and failures for Temporal: JSON by pydantic, and refusals without a stack trace."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from mesh.errors import RefusedError

_SHARED = PydanticPayloadConverter()


class _PayloadConverter(CompositePayloadConverter):
    """Shares its converters among all instances: the SDK creates an instance for each run of a workflow.

    Otherwise pydantic would build its validators for each run, which takes longer than everything else that an item
    does (`make bench`).
    """

    def __init__(self) -> None:
        super().__init__(*_SHARED.converters.values())


class _FailureConverter(DefaultFailureConverter):
    """Removes the stack trace of a refusal, which the Temporal UI would show below its sentence."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Fills the failure as the SDK does, then removes the stack trace of a refusal."""
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError) and exception.type == RefusedError.__name__:
            failure.stack_trace = ""


data_converter = DataConverter(payload_converter_class=_PayloadConverter, failure_converter_class=_FailureConverter)
