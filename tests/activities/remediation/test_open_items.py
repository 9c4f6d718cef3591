"""Items are opened for findings of a survey, and for restarts that failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import connect
from activities.remediation.activities import RemediationActivities
from activities.remediation.inputs import OpenItemInput, OpenItemsInput, OpenItemsResult
from activities.remediation.watch import ClusterWatchActivities
from activities.restart.outcome import RestartOutcome, RestartResult
from activities.survey.activities import SurveyInput
from activities.survey.cache import SurveyCache
from mesh.identity import ClusterRef, item_id
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import Policy
from mesh.remediation.item import Item, ItemState
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import fingerprint
from tests.activities.fake_temporal import FakeTemporal
from tests.mesh.build import NOW
from tests.scale.synthetic_cluster import Size, SyntheticCluster, served

REF = ClusterRef("one", "uid")
WORK = WorkloadRef("space-0", "Deployment", "work-0-")
FAILED = RestartResult(WORK, RestartOutcome.FAILED, Reason.RESTART_REVERTED, "the mark was taken off")


class Queue:
    """The activities, in a cluster of one Deployment and two standalone Pods, all of them stale."""

    def __init__(self, synthetic: SyntheticCluster, served_by: ServedCluster) -> None:
        self.synthetic = synthetic
        self.temporal = FakeTemporal()
        client = self.temporal.client
        surveys = SurveyCache(served_by.cluster)
        watch = ClusterWatchActivities(served_by, client, "queue", surveys)
        self._activities = RemediationActivities(served_by, client, "queue", watch, surveys)

    async def open_items(self, *failed: WorkloadRef) -> OpenItemsResult:
        known = tuple(fingerprint(one) for one in failed)
        request = OpenItemsInput(SurveyInput(REF, Policy(), failed=known))
        opened: OpenItemsResult = await ActivityEnvironment().run(self._activities.open_items, request)
        return opened

    async def open_item(self) -> bool:
        request = OpenItemInput(REF, FAILED)
        opened: bool = await ActivityEnvironment().run(self._activities.open_item, request)
        return opened

    @property
    def findings(self) -> list[Finding]:
        """The findings that items were opened for."""
        return [one.item.finding for one in self.temporal.started if one.item is not None]

    @property
    def announcements(self) -> int:
        """How often new items were announced to the watch."""
        return [one.workflow for one in self.temporal.started].count("ClusterWatch")


@asynccontextmanager
async def queue_of(folder: Path, *, deployments: int = 1, stale: int = 1, standalone: int = 2) -> AsyncIterator[Queue]:
    """Nothing is open yet."""
    synthetic = SyntheticCluster(Size(1, deployments, 2, stale, standalone))
    async with served(synthetic, folder) as kubeconfig, await connect(str(kubeconfig)) as cluster:
        yield Queue(synthetic, ServedCluster(cluster, REF))


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    """Nothing is open yet."""
    async with queue_of(tmp_path) as queue:
        yield queue


async def test_item_for_each_workload_that_an_operator_must_settle_and_one_announcement(queue: Queue) -> None:
    opened = await queue.open_items()

    assert opened == OpenItemsResult(2, {"StandalonePod": 2})
    assert sorted(one.name for one in queue.findings) == ["alone-0", "alone-1"]
    assert [one.workflow for one in queue.temporal.started] == ["RemediationItem", "RemediationItem", "ClusterWatch"]


@pytest.mark.parametrize(("new", "known", "seconds"), [(39, 0, None), (90, 0, 2), (90, 20, 1), (90, 80, None)])
async def test_first_tasks_of_many_wait_until_the_others_are_open(
    tmp_path: Path, new: int, known: int, seconds: int | None
) -> None:
    async with queue_of(tmp_path, standalone=new) as queue:
        queue.temporal.open |= {
            item_id("one", WorkloadRef("space-0", "Pod", f"alone-{number}")) for number in range(known)
        }
        await queue.open_items()

    items = [one for one in queue.temporal.started if one.item is not None and one.signal is None]
    assert len(items) == new - known
    assert {one.first_task_after for one in items} == {timedelta(seconds=seconds) if seconds else None}


async def test_no_finding_announces_nothing(tmp_path: Path) -> None:
    async with queue_of(tmp_path, stale=0, standalone=0) as queue:
        assert await queue.open_items() == OpenItemsResult(0, {})
        assert queue.temporal.started == []


async def test_failed_restart_is_opened_for_what_trying_found(queue: Queue) -> None:
    assert await queue.open_item()

    [seen] = queue.findings
    assert (seen.ref, seen.reason, seen.detail) == (
        WORK,
        Reason.RESTART_REVERTED,
        "the mark was taken off",
    )
    assert (len(seen.pods), seen.pod_count) == (2, 2)
    assert queue.announcements == 1


async def test_failed_restart_that_is_well_by_now_needs_no_item(queue: Queue) -> None:
    queue.synthetic.current.add(0)

    assert not await queue.open_item()
    assert queue.temporal.started == []


async def test_failed_restart_of_a_workload_that_is_gone_needs_no_item(tmp_path: Path) -> None:
    async with queue_of(tmp_path, deployments=0, stale=0) as queue:
        assert not await queue.open_item()
        assert queue.temporal.started == []


async def test_item_that_closed_after_the_reading_stays_closed(queue: Queue) -> None:
    identity = item_id("one", WorkloadRef("space-0", "Pod", "alone-0"))
    finding = Finding("space-0", "Pod", "alone-0", Reason.STANDALONE_POD, None, (), 0)
    later = datetime.now(UTC) + timedelta(minutes=1)
    queue.temporal.items[identity] = Item(
        "one", finding, NOW, later, ItemState.RESOLVED, closed="its Pods run the expected proxy"
    )

    assert (await queue.open_items()).by_reason == {"StandalonePod": 1}
    assert [one.name for one in queue.findings] == ["alone-1"]


async def test_item_that_was_terminated_while_open_is_opened_again(queue: Queue) -> None:
    identity = item_id("one", WorkloadRef("space-0", "Pod", "alone-0"))
    finding = Finding("space-0", "Pod", "alone-0", Reason.STANDALONE_POD, None, (), 0)
    later = datetime.now(UTC) + timedelta(minutes=1)
    queue.temporal.items[identity] = Item("one", finding, NOW, later)

    assert (await queue.open_items()).by_reason == {"StandalonePod": 2}
    assert sorted(one.name for one in queue.findings) == ["alone-0", "alone-1"]


@pytest.mark.parametrize("reason", [Reason.RESTART_REVERTED, Reason.CRASH_LOOPING])
async def test_item_of_a_failed_restart_stays_as_it_is(queue: Queue, reason: Reason) -> None:
    identity = item_id("one", WORK)
    seen = Finding(WORK.namespace, WORK.kind, WORK.name, reason, None, (), 0)
    queue.temporal.open.add(identity)
    queue.temporal.items[identity] = Item("one", seen, NOW, NOW)
    opened = await queue.open_items(WORK)

    assert opened == OpenItemsResult(3, {"StandalonePod": 2, str(reason): 1})
    assert sorted(one.name for one in queue.findings) == ["alone-0", "alone-1"]


async def test_failed_restart_whose_item_was_never_opened_is_opened_at_the_end(queue: Queue) -> None:
    opened = await queue.open_items(WORK)

    assert opened == OpenItemsResult(3, {"StandalonePod": 2, "RolloutTimedOut": 1})
    assert sorted(one.name for one in queue.findings) == ["alone-0", "alone-1", "work-0-"]
