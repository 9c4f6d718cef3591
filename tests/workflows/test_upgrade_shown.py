"""What an upgrade shows: progress at each phase, attributes in the list, a page that fits into an address."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from activities.search_attributes import CLUSTER, NEEDS_ATTENTION, PHASE, STALE_LEFT
from activities.search_attributes import TARGET as TARGET_ATTRIBUTE
from mesh.history import HistoryEntry
from mesh.plan.policy import Policy
from tests.workflows.conftest import Starter
from tests.workflows.fakes import TARGET, FakeCluster
from tests.workflows.stage import Clock, attribute, current_details
from workflows.messages import ItemCounts, Phase, Progress, WaveProgress, WorkloadCounts
from workflows.ui_details import upgrade_details
from workflows.upgrade import UpgradeWorkflow

_STEPS = ("resolve_target", "await_control_plane", "survey_cluster", "restart_workload", "open_items")
_PAGE_BYTES = 4096


async def test_progress_tells_each_phase(cluster: FakeCluster, upgrade_of: Starter, clock: Clock) -> None:
    cluster.block(*_STEPS)
    cluster.items = {"JobPod": 2}
    upgrade = await upgrade_of(cluster, Policy(soak=timedelta(minutes=5)))

    await upgrade.calls("resolve_target")
    seen = await upgrade.progress()
    assert (seen.phase, seen.target, seen.wave, seen.result) == (Phase.PREFLIGHT, None, None, None)
    assert seen.workloads == WorkloadCounts()

    cluster.unblock("resolve_target")
    await upgrade.calls("await_control_plane")
    seen = await upgrade.progress()
    assert (seen.phase, seen.target) == (Phase.CONTROL_PLANE, str(TARGET))

    cluster.unblock("await_control_plane")
    await upgrade.calls("survey_cluster")
    assert (await upgrade.progress()).phase is Phase.SURVEY

    cluster.unblock("survey_cluster")
    await upgrade.calls("restart_workload")
    seen = await upgrade.progress()
    assert (seen.phase, seen.wave) == (Phase.RESTARTING, WaveProgress(0, 2, "canary"))
    assert seen.workloads == WorkloadCounts(planned=3, left=3)

    cluster.unblock("restart_workload")
    seen = await upgrade.reaches(Phase.SOAKING)
    assert seen.workloads == WorkloadCounts(planned=3, restarted=1, left=2)
    assert await attribute(upgrade.handle, STALE_LEFT) == 4

    await clock.passes(minutes=5)
    await upgrade.calls("open_items")
    seen = await upgrade.progress()
    assert (seen.phase, seen.wave) == (Phase.FINAL_SURVEY, None)
    assert seen.workloads == WorkloadCounts(planned=3, restarted=3)
    assert seen.ended_at is None

    cluster.unblock("open_items")
    seen = (await upgrade.ends()).progress
    assert (seen.phase, seen.result) == (Phase.DONE, "done-with-items")
    assert seen.workloads == WorkloadCounts(planned=3, restarted=3, remediation=2)
    assert seen.ended_at is not None
    assert seen.ended_at >= seen.started_at
    assert seen == await upgrade.progress()


async def test_list_tells_cluster_phase_and_target(cluster: FakeCluster, upgrade_of: Starter) -> None:
    upgrade = await upgrade_of(cluster)
    await upgrade.ends()

    assert await attribute(upgrade.handle, CLUSTER) == cluster.ref.name
    assert await attribute(upgrade.handle, PHASE) == "done"
    assert await attribute(upgrade.handle, TARGET_ATTRIBUTE) == "1.30.2"
    assert await attribute(upgrade.handle, NEEDS_ATTENTION) is False
    assert await attribute(upgrade.handle, STALE_LEFT) == 0


async def test_report_tells_what_is_left_alone_and_who_decided(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.classes = {"pinned": 2, "excluded": 3, "current": 95}
    cluster.block("restart_workload")
    upgrade = await upgrade_of(cluster)
    await upgrade.calls("restart_workload")
    before = await upgrade.handle.query(UpgradeWorkflow.report)
    await upgrade.pause()
    paused = await upgrade.handle.query(UpgradeWorkflow.report)
    await upgrade.resume()
    cluster.unblock("restart_workload")
    result = await upgrade.ends()

    assert (before.pinned, before.excluded, before.decisions) == (2, 3, ())
    assert paused.progress.needs_attention == "paused by me: because of the test"
    assert [(one.what, one.who, one.because) for one in paused.decisions] == [("paused", "me", "because of the test")]
    assert (result.pinned, result.excluded) == (2, 3)


async def test_page_tells_the_end(cluster: FakeCluster, upgrade_of: Starter) -> None:
    cluster.items = {"StandalonePod": 1}
    upgrade = await upgrade_of(cluster)
    await upgrade.ends()
    page = await current_details(upgrade.handle)

    assert f"on {cluster.ref.name}: done" in page
    assert "3 of 3 workloads done" in page
    assert "- 1 StandalonePod" in page
    assert "Waiting for an operator" not in page


def _decision(what: str) -> HistoryEntry:
    return HistoryEntry(datetime(2026, 1, 1, tzinfo=UTC), what, what, what)


def _progress(hostile: str, reasons: int) -> Progress:
    return Progress(
        cluster="kyma-prod-eu1",
        target=str(TARGET),
        phase=Phase.PAUSED,
        needs_attention=hostile,
        next_step='Fix the cause, then resume: kyma-upgrade resume --cluster kyma-prod-eu1 --because "…"',
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=None,
        result=None,
        workloads=WorkloadCounts(planned=10000, restarted=9000, left=1000),
        wave=WaveProgress(3, 7, hostile),
        items=ItemCounts(reasons, {f"{hostile[:60]}{number:02}": 1 for number in range(reasons)}),
    )


@pytest.mark.parametrize(
    "hostile", ["a" * 5000, "<img src=x onerror=alert(1)>" * 99, "⚠️ é\n" * 999, "[x](javascript:x)" * 99]
)
def test_page_fits_into_an_address_whatever_the_cluster_says(hostile: str) -> None:
    page = upgrade_details(_progress(hostile, 50), [_decision(hostile)] * 50)

    # The Temporal UI passes it along percent-encoded.
    assert len(quote(page)) < _PAGE_BYTES
    assert "Waiting for an operator" in page
    assert "kyma-upgrade resume" in page
    assert "<img" not in page.replace("\\<", "")
    assert "[x](" not in page


def test_page_counts_one_workload_in_the_singular() -> None:
    page = upgrade_details(replace(_progress("trouble", 0), workloads=WorkloadCounts(planned=1, restarted=1)), [])

    assert "1 of 1 workload done" in page


def test_page_shows_the_newest_decisions_and_the_most_frequent_reasons() -> None:
    progress = _progress("trouble", 0)
    counts = {f"Reason{number}": number for number in range(1, 15)}
    page = upgrade_details(
        replace(progress, items=ItemCounts(105, counts)),
        [_decision(f"decision {number}") for number in range(9)],
    )

    assert "105 remediation items are open" in page
    assert "- 14 Reason14" in page
    assert "Reason4" not in page
    assert "decision 8" in page
    assert "decision 3" not in page
