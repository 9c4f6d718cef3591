"""A workflow that was changed without care: one timer more than the histories know."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.messages import WaveInput, WaveResult
    from workflows.wave import WaveWorkflow


@workflow.defn(name="Wave")
class AlteredWaveWorkflow(WaveWorkflow):
    """The wave with one inserted timer."""

    @workflow.init
    def __init__(self, request: WaveInput) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: WaveInput) -> WaveResult:
        """Sleeps first."""
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(request)
