"""How values and failures travel through Temporal: JSON, by pydantic's rules; refusals as their sentence alone."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from mesh.errors import RefusedError

_SHARED = PydanticPayloadConverter()


class _PayloadConverter(CompositePayloadConverter):
    """Of which the SDK makes one for each run of a workflow.

    They share what pydantic has worked out of each type: for an item that takes longer than all else that it does
    (`make bench`).
    """

    def __init__(self) -> None:
        super().__init__(*_SHARED.converters.values())


class _FailureConverter(DefaultFailureConverter):
    """A refusal is an answer: the Temporal UI would show a stack trace below its sentence."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """As the SDK does it."""
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError) and exception.type == RefusedError.__name__:
            failure.stack_trace = ""


data_converter = DataConverter(payload_converter_class=_PayloadConverter, failure_converter_class=_FailureConverter)
