"""`kyma-upgrade report`, read from the histories of real workflows on a fake cluster."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.worker import Worker

from activities.remediation.inputs import RemediationItemInput
from activities.restart.outcome import RestartOutcome
from cli.actions.write_report import FORMATS, write_report
from cli.exit_codes import DONE, FAILED, ITEMS_OPEN, NEEDS_OPERATOR, TIMED_OUT, USAGE
from cli.temporal import histories, upgrade_history, upgrade_report, wave_history
from cli.temporal.upgrade_report import read_queue, read_report
from cli.temporal.upgrade_status import find_upgrade
from mesh.errors import PermissionDeniedError, RefusedError
from mesh.history import HistoryEntry
from mesh.identity import TASK_QUEUE, ClusterRef, upgrade_id, wave_id
from mesh.plan.policy import InFlight, Policy
from mesh.remediation.item import Item, ItemState
from mesh.reporting.document import ReportDocument
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from mesh.text import rfc3339
from tests.cli.fakes import START
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.sandbox import strict_runner
from tests.workflows.stage import ME, RunningUpgrade, compose_real_temporal, serve, start_upgrade, until
from worker.settings import Settings
from workflows.messages import ApproveInput, LimitInput, Phase, Progress, UpgradeInput
from workflows.registry import ALL_WORKFLOWS

_ONE_BY_ONE = Policy(soak=timedelta(0), in_flight=InFlight(cluster=1))


@pytest_asyncio.fixture
async def at_real_work(client: Client) -> AsyncIterator[None]:
    """A worker for the product's own workflows."""
    async with Worker(client, task_queue=TASK_QUEUE, workflows=ALL_WORKFLOWS, workflow_runner=strict_runner()):
        yield


@pytest_asyncio.fixture
async def cluster(client: Client, ref: ClusterRef) -> AsyncIterator[FakeCluster]:
    """A fake cluster with its own worker."""
    fake = FakeCluster(ref)
    async with serve(client, fake):
        yield fake


async def read(client: Client, ref: ClusterRef, ui: str | None = None) -> ReportDocument:
    found = await find_upgrade(client, ref.name)
    assert found is not None
    return await read_report(client, found, ui)


def outcomes(document: ReportDocument) -> list[list[tuple[str, str]]]:
    return [[(one["name"], str(one["outcome"])) for one in wave["workloads"]] for wave in document["waves"]]


@pytest.mark.usefixtures("at_real_work")
async def test_report_has_the_outcome_of_every_workload_of_every_wave(
    client: Client, ref: ClusterRef, cluster: FakeCluster
) -> None:
    done, current, gone, zero, excluded, failed = workloads("done", "current", "gone", "zero", "excluded", "failed")
    cluster.stale = {"canary": [done, current, gone, zero, excluded], "to 100%": [failed]}
    cluster.outcomes = {
        current: RestartOutcome.ALREADY_CURRENT,
        gone: RestartOutcome.GONE,
        zero: RestartOutcome.SCALED_TO_ZERO,
        excluded: RestartOutcome.EXCLUDED,
    }
    cluster.failing = {failed: Reason.ROLLOUT_TIMED_OUT}
    cluster.classes = {"current": 90, "pinned": 2, "excluded": 8}
    cluster.items = {"RolloutTimedOut": 1}
    upgrade = await start_upgrade(client, cluster)
    await upgrade.ends()
    document = await read(client, ref, "http://ui")

    assert (document["result"], document["phase"], document["live"]) == ("done-with-items", "done", False)
    assert (document["target"], document["startedBy"]) == ("Istio 1.30.2 (module 1.30.0, channel fast)", "me")
    assert document["workloads"] == {"planned": 6, "restarted": 1, "current": 1, "remediation": 1, "left": 0}
    assert document["totals"] == {"pods": 100, "classes": cluster.classes}
    assert outcomes(document) == [
        [("done", "restarted"), ("current", "current"), ("gone", "gone"), ("zero", "gone"), ("excluded", "gone")],
        [("failed", "failed")],
    ]
    canary, rest = document["waves"]
    assert (canary["number"], canary["name"], canary["state"]) == (0, "canary", "done")
    assert canary["workflowId"] == wave_id(ref.name, 0)
    assert canary[
        "url"
    ] == f"http://ui/namespaces/default/workflows/upgrade%3A{ref.name}%3Awave-000/{{}}/timeline".format(canary["runId"])
    assert canary["counts"] == {"failed": 0, "left": 0, "restarted": 1, "current": 1, "gone": 3}
    assert [one["detail"] for one in canary["workloads"][3:]] == ["scaled to zero", "excluded during the wave"]
    [member] = rest["workloads"]
    assert (member["reason"], member["detail"]) == ("RolloutTimedOut", "0 of 1 Pods came up")
    assert member["startedAt"] is not None
    assert member["endedAt"] is not None
    assert member["startedAt"] <= member["endedAt"]
    assert document["notes"] == []


@pytest.mark.usefixtures("at_real_work")
async def test_report_of_a_running_upgrade_shows_what_is_in_flight_and_what_waits(
    client: Client, ref: ClusterRef, cluster: FakeCluster
) -> None:
    cluster.block("restart_workload")
    cluster.stale = {"canary": workloads("a", "b")}
    upgrade = await start_upgrade(client, cluster, _ONE_BY_ONE)
    await upgrade.calls("restart_workload")
    document = await read(client, ref)

    assert (document["result"], document["phase"], document["live"]) == (None, "restarting", True)
    assert outcomes(document) == [[("a", "in-flight"), ("b", "waiting")]]
    assert document["waves"][0]["state"] == "running"
    assert document["waves"][0]["endedAt"] is None
    cluster.unblock("restart_workload")
    await upgrade.ends()


async def test_report_needs_no_worker(client: Client, ref: ClusterRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.temporal.queries._QUERY_WITHIN", timedelta(seconds=1))
    cluster = FakeCluster(ref)
    cluster.stale = {"canary": workloads("a"), "to 100%": workloads("b")}
    policy = Policy(soak=timedelta(hours=1))
    worker = Worker(client, task_queue=TASK_QUEUE, workflows=ALL_WORKFLOWS, workflow_runner=strict_runner())
    async with worker, serve(client, cluster):
        upgrade = await start_upgrade(client, cluster, policy)
        await upgrade.reaches(Phase.SOAKING)
    document = await read(client, ref)
    await upgrade.handle.terminate()

    assert (document["phase"], document["live"], document["workloads"]["planned"]) == ("soaking", False, None)
    assert outcomes(document) == [[("a", "restarted")]]


@pytest.mark.usefixtures("at_real_work")
async def test_report_of_a_terminated_upgrade_says_who_terminated_it(
    client: Client, ref: ClusterRef, cluster: FakeCluster
) -> None:
    cluster.block("restart_workload")
    cluster.stale = {"canary": workloads("a", "b")}
    upgrade = await start_upgrade(client, cluster, _ONE_BY_ONE)
    await upgrade.calls("restart_workload")
    await upgrade.handle.terminate(reason="enough")
    await until("the wave is terminated with it", lambda: _has_ended(client, ref))
    document = await read(client, ref)
    cluster.unblock("restart_workload")

    assert document["result"] == "failed"
    assert document["failure"] == "The upgrade was ended in Temporal (TERMINATED)."
    [wave] = document["waves"]
    assert (wave["state"], [one["outcome"] for one in wave["workloads"]]) == ("terminated", ["left", "left"])
    assert [one["detail"] for one in wave["workloads"]] == ["was in flight when the wave ended", None]
    [decision] = document["decisions"]
    assert (decision["what"], decision["because"]) == ("terminated in Temporal", "enough")


async def _has_ended(client: Client, ref: ClusterRef) -> bool:
    found = await client.get_workflow_handle(wave_id(ref.name, 0)).describe()
    return found.close_time is not None


@pytest.mark.usefixtures("at_real_work")
async def test_non_retryable_restart_is_reported_as_the_wave_records_it(
    client: Client, ref: ClusterRef, cluster: FakeCluster
) -> None:
    cluster.stale = {"canary": workloads("a")}
    cluster.fail("restart_workload", PermissionDeniedError("The worker may not patch it.", "Apply deploy/rbac.yaml."))
    upgrade = await start_upgrade(client, cluster)
    await upgrade.ends()
    document = await read(client, ref)

    [member] = document["waves"][0]["workloads"]
    [asked] = cluster.asked("open_item")
    assert (member["outcome"], member["reason"], member["detail"]) == (
        "failed",
        asked.result.reason,
        asked.result.detail,
    )


@pytest.mark.usefixtures("at_real_work")
async def test_postponed_restart_waits_and_is_reported_by_its_last_attempt(
    client: Client, ref: ClusterRef, cluster: FakeCluster
) -> None:
    [held] = workloads("a")
    cluster.stale = {"canary": [held]}
    cluster.held = {held: "a new Pod would be refused"}
    upgrade = await start_upgrade(client, cluster)
    await upgrade.reaches(Phase.PAUSED)
    before = await read(client, ref)
    await upgrade.resume()
    await upgrade.ends()
    after = await read(client, ref)

    [waits] = before["waves"][0]["workloads"]
    assert (waits["outcome"], waits["detail"]) == ("waiting", "a new Pod would be refused")
    assert before["needsAttention"] == "a new Pod would be refused"
    assert outcomes(after) == [[("a", "restarted")]]


@pytest.mark.usefixtures("at_real_work")
async def test_report_has_every_decision_with_who_and_why(
    client: Client, ref: ClusterRef, cluster: FakeCluster
) -> None:
    cluster.stale = {"canary": workloads("a"), "to 100%": workloads("b")}
    upgrade = await start_upgrade(client, cluster, Policy(soak=timedelta(0), approve=("canary", "all")))
    await upgrade.reaches(Phase.WAITING_APPROVAL)
    await _says(upgrade, "limit", LimitInput("ann", "the node pool is small", 7))
    await _says(upgrade, "approve", ApproveInput("ann", "the rest is harmless", 1))
    await upgrade.pause()
    await upgrade.resume()
    await _says(upgrade, "approve", ApproveInput("bob"))
    await upgrade.ends()
    document = await read(client, ref)

    assert [(one["what"], one["who"], one["because"]) for one in document["decisions"]] == [
        ("limited to 7 in flight", "ann", "the node pool is small"),
        ("approved wave 1", "ann", "the rest is harmless"),
        ("paused", ME.who, ME.because),
        ("resumed", ME.who, ME.because),
        ("approved canary", "bob", None),
    ]
    assert document["startedAt"] <= str(document["decisions"][0]["at"]) <= str(document["endedAt"])


async def _says(upgrade: RunningUpgrade, name: str, decision: object) -> None:
    await upgrade.handle.execute_update(name, decision, result_type=Progress)


@pytest.mark.usefixtures("at_real_work")
async def test_report_is_of_the_last_upgrade_alone(client: Client, ref: ClusterRef, cluster: FakeCluster) -> None:
    cluster.stale = {"canary": workloads("a"), "to 100%": workloads("b")}
    await (await start_upgrade(client, cluster)).ends()
    cluster.stale = {"canary": workloads("c")}
    await (await start_upgrade(client, cluster)).ends()

    assert outcomes(await read(client, ref)) == [[("c", "restarted")]]


# Upgrades of several runs.


@pytest_asyncio.fixture(scope="module")
async def long_upgrade() -> AsyncIterator[tuple[Client, RunningUpgrade]]:
    """An upgrade of several runs, with a decision in the first and in the last."""
    async with compose_real_temporal("limit.historyCount.suggestContinueAsNew=90") as client:
        cluster = FakeCluster(ClusterRef("long", "uid"))
        cluster.stale = {f"wave {number}": workloads(f"a{number}") for number in range(10)}
        cluster.block("survey_cluster")
        async with serve(client, cluster):
            upgrade = await start_upgrade(client, cluster)
            await upgrade.calls("survey_cluster")
            await upgrade.pause()
            await upgrade.resume()
            cluster.unblock("survey_cluster")
            await asyncio.wait_for(upgrade.handle.result(), 60)
        yield client, upgrade


async def test_report_has_the_waves_and_decisions_of_all_runs(long_upgrade: tuple[Client, RunningUpgrade]) -> None:
    client, upgrade = long_upgrade
    document = await read(client, upgrade.cluster.ref)

    assert document["runId"] != upgrade.handle.first_execution_run_id
    assert outcomes(document) == [[(f"a{number}", "restarted")] for number in range(10)]
    assert [one["what"] for one in document["decisions"]] == ["paused", "resumed"]
    assert document["startedBy"] == "me"
    assert document["notes"] == []


async def test_report_says_what_temporal_no_longer_keeps(
    long_upgrade: tuple[Client, RunningUpgrade], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, upgrade = long_upgrade
    whole = await read(client, upgrade.cluster.ref)
    last = whole["waves"][-1]
    # The server takes half a minute to delete one: asked for runs that it never had, it answers the same.
    gone = {upgrade.handle.first_execution_run_id, last["runId"]}

    def events(client: Client, workflow_id: str, run_id: str, page_size: int | None = None) -> object:
        return histories.events_of(client, workflow_id, str(uuid4()) if run_id in gone else run_id, page_size)

    monkeypatch.setattr(upgrade_history, "events_of", events)
    monkeypatch.setattr(wave_history, "events_of", events)
    document = await read(client, upgrade.cluster.ref)

    [note] = document["notes"]
    assert "no longer keeps the first runs" in note
    assert 0 < len(document["waves"]) < 10
    assert document["waves"][-1] == {
        **last,
        "detail": "Temporal no longer keeps its history",
        "startedAt": None,
        "endedAt": None,
        "complete": False,
        "workloads": [],
    }
    assert [(one["what"], one["who"], one["because"]) for one in document["decisions"]] == [
        ("paused", "me", "because of the test"),
        ("resumed", "me", "because of the test"),
    ]


# The queue.


async def _open(client: Client, ref: ClusterRef, name: str, state: ItemState = ItemState.OPEN) -> None:
    finding = Finding("shop", "Deployment", name, Reason.POD_PENDING, "why", (f"{name}-1",), 1)
    item = Item(ref.name, finding, START, START, state, START if state is not ItemState.OPEN else None)
    await client.start_workflow(
        "RemediationItem",
        RemediationItemInput(ref, item),
        id=item.id,
        task_queue=TASK_QUEUE,
        memo={"item": item.with_entry(HistoryEntry(START, "skip", "ann", "it goes", "skipped"))},
    )


async def _ended(client: Client, ref: ClusterRef, to: str) -> None:
    handle = await client.start_workflow(
        "Upgrade", UpgradeInput(ref, to), id=upgrade_id(ref.name), task_queue=TASK_QUEUE
    )
    await handle.result()


@pytest.mark.usefixtures("at_work")
async def test_report_has_every_item_with_next_step_and_history(client: Client, ref: ClusterRef) -> None:
    await _ended(client, ref, "items")
    states = {3: ItemState.SNOOZED, 4: ItemState.SKIPPED, 5: ItemState.RETRYING}
    for number in range(12):
        await _open(client, ref, f"cart-{number}", states.get(number, ItemState.OPEN))

    async def listed() -> bool:
        return len((await read(client, ref))["queue"]) == 12

    await until("all items are listed", listed)
    document = await read(client, ref, "http://ui")
    one = next(each for each in document["queue"] if each["name"] == "cart-7")

    assert {each["name"] for each in document["queue"]} == {f"cart-{number}" for number in range(12)}
    assert (one["reason"], one["detail"], one["state"]) == ("PodPending", "why", "open")
    assert one["nextStep"]
    assert one["commands"]
    assert [each["because"] for each in one["history"]] == ["it goes"]
    skipped = next(each for each in document["queue"] if each["name"] == "cart-4")
    assert (skipped["state"], skipped["until"]) == ("skipped", "2026-03-01T12:00:00Z")
    assert one["url"].startswith("http://ui/namespaces/default/workflows/remediation%3A")


@pytest.mark.usefixtures("at_work")
async def test_report_waits_for_items_that_are_listed_late(
    client: Client, ref: ClusterRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade_report, "_LIST_AGAIN_SECONDS", 0.1)
    status: dict[str, Any] = {"cluster": ref.name, "items": {"open": 1}, "endedAt": rfc3339(datetime.now(UTC))}
    looks = asyncio.create_task(read_queue(client, status))
    await asyncio.sleep(0.3)
    await _open(client, ref, "cart")

    assert [one["name"] for one in await looks] == ["cart"]


@pytest.mark.parametrize("ended", [None, "2026-03-01T12:00:00Z"])
async def test_report_does_not_wait_for_items_that_have_closed(
    client: Client, ref: ClusterRef, monkeypatch: pytest.MonkeyPatch, ended: str | None
) -> None:
    monkeypatch.setattr(upgrade_report, "_LIST_AGAIN_SECONDS", 3600.0)
    status: dict[str, Any] = {"cluster": ref.name, "items": {"open": 1}, "endedAt": ended}

    assert await asyncio.wait_for(read_queue(client, status), 10) == []


# The command.


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize(
    ("to", "code"),
    [("done", DONE), ("items", ITEMS_OPEN), ("fails", FAILED), ("refused", USAGE), ("runs", TIMED_OUT)],
)
async def test_report_ends_with_the_code_of_wait_and_5_while_it_runs(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str], to: str, code: int
) -> None:
    handle = await client.start_workflow(
        "Upgrade", UpgradeInput(ref, to), id=upgrade_id(ref.name), task_queue=TASK_QUEUE
    )
    if to != "runs":
        await asyncio.wait([asyncio.ensure_future(handle.result())])

    assert await write_report(settings, "json", None) == code

    document = json.loads(capsys.readouterr().out)
    assert (document["workflowId"], document["cluster"]) == (upgrade_id(ref.name), ref.name)
    assert (document["failure"] == "That cannot be.") is (to in ("fails", "refused"))


@pytest.mark.usefixtures("at_work")
async def test_report_of_a_paused_upgrade_ends_with_4(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = await client.start_workflow(
        "Upgrade", UpgradeInput(ref, "runs"), id=upgrade_id(ref.name), task_queue=TASK_QUEUE
    )
    await handle.execute_update("pause", ME, result_type=Progress)

    assert await write_report(settings, "md", None) == NEEDS_OPERATOR
    assert "**The upgrade waits for an operator:** paused by me: because of the test" in capsys.readouterr().out


async def test_report_without_an_upgrade_is_refused(settings: Settings) -> None:
    with pytest.raises(RefusedError, match="no upgrade"):
        await write_report(settings, "md", None)


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize("form", FORMATS)
async def test_file_is_written_instead_of_stdout(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    await _ended(client, ref, "done")
    file = tmp_path / "report"
    file.write_text("an older one, which is longer than nothing")

    assert await write_report(settings, form, file) == DONE

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"Wrote {file}.\n")
    text = file.read_text()
    assert f"Upgrade of cluster {ref.name}" in text or json.loads(text)["cluster"] == ref.name
    assert text.endswith("\n")
    assert _names(tmp_path) == ["report"]
    if form == "junit":
        ET.fromstring(text)  # noqa: S314  # our own


@pytest.mark.usefixtures("at_work")
async def test_file_that_cannot_be_written_is_refused_and_leaves_nothing_behind(
    client: Client, ref: ClusterRef, settings: Settings, tmp_path: Path
) -> None:
    await _ended(client, ref, "done")
    # The name itself fits; that of the file beside it does not.
    file = tmp_path / ("x" * 254)

    with pytest.raises(RefusedError, match="cannot be written"):
        await write_report(settings, "md", file)

    assert _names(tmp_path) == []


@pytest.mark.usefixtures("at_work")
async def test_pipe_is_written_and_not_replaced(
    client: Client, ref: ClusterRef, settings: Settings, tmp_path: Path
) -> None:
    await _ended(client, ref, "done")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reads = asyncio.create_task(asyncio.to_thread(pipe.read_text))

    assert await write_report(settings, "md", pipe) == DONE
    assert (await reads).startswith("## Upgrade of cluster")
    assert pipe.is_fifo()


def _names(directory: Path) -> list[str]:
    return [one.name for one in directory.iterdir()]
