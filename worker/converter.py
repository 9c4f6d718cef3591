"""How values travel through Temporal: JSON, by pydantic's rules."""

from __future__ import annotations

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

_SHARED = PydanticPayloadConverter()


class _PayloadConverter(CompositePayloadConverter):
    """Of which the SDK makes one for each run of a workflow.

    They share what pydantic has worked out of each type: for an item that takes longer than all else that it does
    (`make bench`).
    """

    def __init__(self) -> None:
        super().__init__(*_SHARED.converters.values())


data_converter = DataConverter(payload_converter_class=_PayloadConverter)
