"""The open waves of a step: they overlap, under limits that hold for all of them together.

A wave reports what it has in flight once all its members have begun; then the next wave of the step begins, and counts
that as taken. What is taken only becomes less, so an old report never lets too much begin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from mesh.identity import wave_id

    from workflows.messages import WaveControl, WaveInput, WaveReport, WaveResult
    from workflows.wave import WaveWorkflow

Handle = workflow.ChildWorkflowHandle[Any, WaveResult]


class WaveCoordinator:
    """Starts waves, keeps their reports, and sends them their control."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._open: dict[int, Handle | None] = {}
        self._reports: dict[int, WaveReport] = {}
        self._sent: dict[int, WaveControl] = {}
        self._lock = asyncio.Lock()

    @property
    def any_open(self) -> bool:
        """Whether a wave is open."""
        return bool(self._open)

    @property
    def failed(self) -> int:
        """How many restarts of open waves have failed so far."""
        return sum(report.failed for report in self._reports.values())

    @property
    def last_failed(self) -> list[str]:
        """The names of the newest of them."""
        return [name for report in self._reports.values() for name in report.last_failed]

    def all_begun(self, number: int) -> bool:
        """Whether every member of the wave has begun, or the wave has ended."""
        report = self._reports.get(number)
        return number not in self._open or (report is not None and not report.waiting)

    async def start(self, request: WaveInput, control: WaveControl) -> Handle:
        """Starts a wave, which knows from the beginning what other waves have taken."""
        number, rule = request.rule.number, request.rule
        self._open[number] = None
        self._sent[number] = replace(control, taken=self._taken_before(number))
        try:
            handle = await workflow.start_child_workflow(
                WaveWorkflow.run,
                replace(request, control=self._sent[number]),
                id=wave_id(self._cluster, number),
                static_summary=f"{rule.name}: {rule.workloads} workload{'' if rule.workloads == 1 else 's'}",
            )
        except BaseException:
            self.end(number)
            raise
        self._open[number] = handle
        return handle

    def end(self, number: int) -> None:
        """Forgets a wave that has ended: nothing of it is in flight any more."""
        for by_number in (self._open, self._reports, self._sent):
            by_number.pop(number, None)

    def record_report(self, report: WaveReport) -> WaveReport | None:
        """Keeps the report of an open wave; returns the wave's report before it."""
        before = self._reports.get(report.number)
        if report.number in self._open:
            self._reports[report.number] = report
        return before

    async def send(self, control: WaveControl) -> None:
        """Sends every open wave the control that it does not know yet."""
        # One signal at a time: of two on their way at once the older could arrive last.
        async with self._lock:
            for number in sorted(self._open):
                handle = self._open.get(number)
                news = replace(control, taken=self._taken_before(number))
                if handle is None or news == self._sent.get(number):
                    continue
                self._sent[number] = news
                # A wave that has just ended takes no signal, and needs none.
                with contextlib.suppress(FailureError):
                    await handle.signal(WaveWorkflow.steer, news)

    def _taken_before(self, number: int) -> dict[str, int]:
        taken: Counter[str] = Counter()
        for other, report in self._reports.items():
            if other < number:
                taken.update(report.in_flight)
        return dict(taken)
