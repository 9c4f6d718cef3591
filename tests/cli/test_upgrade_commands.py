"""Commands on a real Temporal server, with fake workflows."""

from __future__ import annotations

import asyncio
import gc
import json
from datetime import timedelta
from typing import cast

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy

from activities.boundary import ServedCluster
from activities.control_plane import ResolvedTarget
from activities.kube.client import ClusterClient
from activities.remediation.inputs import RemediationItemInput
from activities.search_attributes import item_search_attributes
from cli.actions.act_on_items import Selection, act_on_items
from cli.actions.control_upgrade import control_upgrade
from cli.actions.show_item import show_item
from cli.actions.show_status import show_status
from cli.actions.start_upgrade import start_or_attach
from cli.actions.wait_for_upgrade import wait_for_upgrade
from cli.exit_codes import CONFLICT, DONE, FAILED, ITEMS_OPEN, NEEDS_OPERATOR, TIMED_OUT, USAGE, failure_of
from cli.temporal import follow_upgrade
from cli.temporal.follow_upgrade import WaitOptions
from cli.temporal.item_search import ItemFilter, find_items
from cli.temporal.start_request import LatestUpgrade, StartRequest
from cli.temporal.upgrade_status import find_upgrade
from mesh.errors import ConflictError, RefusedError, UnreachableError
from mesh.identity import TASK_QUEUE, ClusterRef, item_id, upgrade_id
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.targets import Target
from mesh.plan.policy import Policy
from mesh.remediation.item import Item, Observation
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from tests.cli.fakes import START
from worker.settings import Settings
from workflows.item_commands import ItemCommand
from workflows.messages import UpgradeInput


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_upgrade, "_POLL_SECONDS", 0.05)


def _resolved(to: str) -> ResolvedTarget:
    return ResolvedTarget(Target("fast", "1.30.0", to), "1.29.3", already_installed=False)


async def _start(client: Client, ref: ClusterRef, to: str, key: str | None = None) -> str:
    served = ServedCluster(cast("ClusterClient", None), ref)
    return await start_or_attach(client, served, _resolved(to), Policy(), StartRequest(to, "me", key=key))


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize(
    ("to", "code", "result"),
    [
        ("done", DONE, "done"),
        ("items", ITEMS_OPEN, "done-with-items"),
        ("fails", FAILED, "failed"),
        ("refused", USAGE, "failed"),
    ],
)
async def test_wait_ends_with_the_exit_code_of_the_result(
    client: Client,
    ref: ClusterRef,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    to: str,
    code: int,
    result: str,
) -> None:
    await client.start_workflow("Upgrade", UpgradeInput(ref, to), id=upgrade_id(ref.name), task_queue=TASK_QUEUE)

    assert await wait_for_upgrade(settings, ref.name, "json", WaitOptions()) == code

    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["result"], document["workflowId"]) == (result, upgrade_id(ref.name))
    assert ("That cannot be." in printed.err) is (result == "failed")
    assert await show_status(settings, "json") == DONE


async def test_status_without_an_upgrade_ends_with_1(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert await show_status(settings, "json") == FAILED

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "There is no upgrade" in printed.err


async def test_wait_without_an_upgrade_is_refused(settings: Settings, ref: ClusterRef) -> None:
    with pytest.raises(RefusedError, match="no upgrade"):
        await wait_for_upgrade(settings, ref.name, None, WaitOptions())


@pytest.mark.usefixtures("at_work")
async def test_second_start_attaches_to_the_same_target(client: Client, ref: ClusterRef) -> None:
    first = await _start(client, ref, "1.30.2")
    second = await _start(client, ref, "1.30.2")

    assert second == first


@pytest.mark.usefixtures("at_work")
async def test_second_start_with_another_target_ends_with_6(client: Client, ref: ClusterRef) -> None:
    await _start(client, ref, "1.30.2")

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await _start(client, ref, "1.31.0")

    failure = failure_of(refused.value)
    assert (failure.code, failure.message) == (CONFLICT, "An upgrade to 1.30.2 is under way.")


@pytest.mark.usefixtures("at_work")
async def test_start_after_the_end_starts_a_new_upgrade(client: Client, ref: ClusterRef) -> None:
    first = await _start(client, ref, "done")
    await client.get_workflow_handle(upgrade_id(ref.name)).result()

    assert await _start(client, ref, "done") != first


@pytest.mark.usefixtures("at_work")
async def test_idempotency_key_is_recognized_after_the_end(client: Client, ref: ClusterRef) -> None:
    run_id = await _start(client, ref, "done", key="pipeline-7")
    await client.get_workflow_handle(upgrade_id(ref.name)).result()

    before = await LatestUpgrade.find(client, ref.name)

    assert before.has_key("pipeline-7")
    assert not before.has_key("pipeline-8")
    assert not before.has_key(None)
    assert before.run_id == run_id


@pytest.mark.usefixtures("at_work")
async def test_conflict_is_refused_before_anything_is_started(client: Client, ref: ClusterRef) -> None:
    await _start(client, ref, "1.30.2")
    before = await LatestUpgrade.find(client, ref.name)

    before.refuse_other(ref.uid, _resolved("1.30.2"), StartRequest("1.30.2", "me"))
    with pytest.raises(ConflictError, match=r"Istio 1\.30\.2 is running"):
        before.refuse_other(ref.uid, _resolved("1.31.0"), StartRequest("1.31.0", "me"))
    with pytest.raises(ConflictError, match="another cluster"):
        before.refuse_other("another uid", _resolved("1.30.2"), StartRequest("1.30.2", "me"))


@pytest.mark.usefixtures("at_work")
async def test_pause_makes_wait_end_with_4_and_resume_is_refused_twice(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await _start(client, ref, "1.30.2")

    assert await control_upgrade(settings, "pause", "me", "to look", "json") == DONE
    assert json.loads(capsys.readouterr().out)["needsAttention"] == "paused by me: to look"
    assert await wait_for_upgrade(settings, ref.name, "json", WaitOptions()) == NEEDS_OPERATOR
    assert "The upgrade waits for an operator: paused by me: to look" in capsys.readouterr().err
    assert await control_upgrade(settings, "resume", "me", "", "json") == DONE
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await control_upgrade(settings, "resume", "me", "", "json")

    assert failure_of(refused.value).code == USAGE


@pytest.mark.usefixtures("at_work")
async def test_wait_to_end_keeps_waiting_while_paused(client: Client, ref: ClusterRef, settings: Settings) -> None:
    await _start(client, ref, "1.30.2")
    await control_upgrade(settings, "pause", "me", "", None)

    waits = asyncio.create_task(wait_for_upgrade(settings, ref.name, "json", WaitOptions(through_pauses=True)))
    await asyncio.sleep(0.5)
    assert not waits.done()
    await control_upgrade(settings, "abort", "me", "enough", None)

    assert await waits == FAILED


@pytest.mark.usefixtures("at_work")
async def test_timeout_ends_with_5_and_says_how_to_attach_again(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await _start(client, ref, "1.30.2")

    assert await wait_for_upgrade(settings, ref.name, "json", WaitOptions(seconds=0.2)) == TIMED_OUT
    assert f"kyma-upgrade wait --cluster {ref.name}" in capsys.readouterr().err


@pytest.mark.usefixtures("at_work")
async def test_wait_prints_one_line_per_change(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await _start(client, ref, "1.30.2")

    await wait_for_upgrade(settings, ref.name, "json", WaitOptions(seconds=0.5))

    assert len([line for line in capsys.readouterr().err.splitlines() if "restarting" in line]) == 1


@pytest.mark.usefixtures("at_work")
async def test_terminated_upgrade_is_a_failure(client: Client, ref: ClusterRef, settings: Settings) -> None:
    await _start(client, ref, "1.30.2")
    await client.get_workflow_handle(upgrade_id(ref.name)).terminate("by hand")

    assert await wait_for_upgrade(settings, ref.name, "json", WaitOptions()) == FAILED


async def test_control_without_a_running_upgrade_is_refused(settings: Settings) -> None:
    with pytest.raises(RefusedError, match=r"No upgrade of cluster cluster-\d+ is running"):
        await control_upgrade(settings, "pause", "me", "", None)


async def test_start_without_a_worker_leaves_no_unretrieved_error(
    client: Client, ref: ClusterRef, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio logs an unretrieved error whenever its task is collected: once, that broke another test."""
    monkeypatch.setattr("cli.actions.start_upgrade._ATTACH_SECONDS", 0.5)
    await _start(client, ref, "1.30.2")

    gc.collect()

    assert caplog.messages == []


async def test_status_without_a_worker_shows_what_temporal_keeps(
    client: Client, ref: ClusterRef, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.actions.start_upgrade._ATTACH_SECONDS", 1.0)
    monkeypatch.setattr("cli.actions.control_upgrade._ANSWER_WITHIN", timedelta(seconds=1))
    monkeypatch.setattr("cli.temporal.queries._QUERY_WITHIN", timedelta(seconds=1))
    await _start(client, ref, "1.30.2")

    found = await find_upgrade(client, ref.name)

    assert found is not None
    assert found.running
    assert found.document["phase"] == "preflight"
    assert found.document["live"] is False
    assert found.document["workloads"]["planned"] is None
    with pytest.raises(UnreachableError, match="No worker answers"):
        await control_upgrade(settings, "pause", "me", "", None)


async def _open_item(client: Client, ref: ClusterRef, namespace: str, name: str, reason: Reason) -> None:
    finding = Finding(namespace, "Deployment", name, reason, "why", (f"{name}-1",), 1)
    item = Item(ref.name, finding, START, START)
    await client.start_workflow(
        "RemediationItem",
        RemediationItemInput(ref, item),
        id=item.id,
        task_queue=TASK_QUEUE,
        memo={"item": item},
        search_attributes=item_search_attributes(item),
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def test_queue_is_read_without_a_worker_and_filtered(client: Client, ref: ClusterRef) -> None:
    await _open_item(client, ref, "shop", "cart", Reason.POD_PENDING)
    await _open_item(client, ref, "shop", "pay", Reason.CRASH_LOOPING)
    await _open_item(client, ref, "odd", "vision", Reason.POD_PENDING)
    neighbour = ClusterRef(f"{ref.name}-b", "uid")
    await _open_item(client, neighbour, "shop", "cart", Reason.POD_PENDING)

    assert await _names(client, ref, ItemFilter(), of=3) == {"cart", "pay", "vision"}
    assert await _names(client, ref, ItemFilter(reason="PodPending"), of=2) == {"cart", "vision"}
    assert await _names(client, ref, ItemFilter(namespaces=("odd",)), of=1) == {"vision"}
    assert await _names(client, ref, ItemFilter(namespaces=("odd", "shop"), reason="PodPending"), of=2) == {
        "cart",
        "vision",
    }
    assert await _names(client, ref, ItemFilter(state="resolved"), of=0) == set()
    assert await _names(client, ref, ItemFilter(state="resolved", namespaces=("shop",)), of=0) == set()


@pytest.mark.parametrize("text", ['a" OR "b" = "b', "back\\slash", "it's", ""])
async def test_invalid_namespace_matches_nothing(client: Client, ref: ClusterRef, text: str) -> None:
    await _open_item(client, ref, "shop", "cart", Reason.POD_PENDING)
    assert await _names(client, ref, ItemFilter(), of=1) == {"cart"}

    assert await find_items(client, ref.name, ItemFilter(namespaces=(text,))) == []


async def test_list_reads_all_pages(client: Client, ref: ClusterRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.remediation.listing._PAGE", 2)
    names = {f"cart-{number}" for number in range(5)}
    for name in names:
        await _open_item(client, ref, "shop", name, Reason.POD_PENDING)

    assert await _names(client, ref, ItemFilter(), of=5) == names


@pytest.mark.usefixtures("at_work")
async def test_closed_item_leaves_the_list_and_is_found_by_its_state(client: Client, ref: ClusterRef) -> None:
    await _open_item(client, ref, "shop", "cart", Reason.POD_PENDING)
    handle = client.get_workflow_handle(item_id(ref.name, WorkloadRef("shop", "Deployment", "cart")))
    await handle.signal("observed", Observation(START, closed="settled"))
    await handle.result()

    assert await _names(client, ref, ItemFilter(state="resolved"), of=1) == {"cart"}
    assert await _names(client, ref, ItemFilter(), of=0) == set()


async def test_terminated_item_is_not_open(client: Client, ref: ClusterRef) -> None:
    await _open_item(client, ref, "shop", "cart", Reason.POD_PENDING)
    await client.get_workflow_handle(item_id(ref.name, WorkloadRef("shop", "Deployment", "cart"))).terminate("by hand")

    assert await _names(client, ref, ItemFilter(), of=0) == set()


@pytest.mark.parametrize("text", ["shop/Deployment/cart", "remediation:{cluster}:shop:Deployment:cart"])
async def test_item_is_shown_by_its_id_and_by_its_short_name(
    client: Client, ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    await _open_item(client, ref, "shop", "cart", Reason.POD_PENDING)

    assert await show_item(settings, text.format(cluster=ref.name), "json") == DONE
    assert json.loads(capsys.readouterr().out)["pods"] == ["cart-1"]


@pytest.mark.parametrize("text", ["cart", "shop/Deployment/other"])
async def test_unknown_item_is_refused(settings: Settings, text: str) -> None:
    with pytest.raises(RefusedError, match="item"):
        await show_item(settings, text, None)


async def test_command_for_all_items_asks_on_a_terminal_and_is_refused_without_one(
    client: Client,
    ref: ClusterRef,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await _open_item(client, ref, "shop", "cart", Reason.POD_PENDING)
    assert await _names(client, ref, ItemFilter(), of=1) == {"cart"}
    everything = Selection((), all=True, filter=ItemFilter(), confirmed=False)

    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(RefusedError, match="queue retry asks for confirmation, and stdin is not a terminal") as refused:
        await act_on_items(settings, "retry", ItemCommand("me"), everything, None)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)

    assert refused.value.remedy == "Add --yes."
    assert await act_on_items(settings, "retry", ItemCommand("me"), everything, None) == USAGE
    assert capsys.readouterr().err.splitlines()[-1].startswith("Nothing was changed. ")


async def test_command_to_an_item_that_does_not_exist_fails(
    ref: ClusterRef, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Selection((f"remediation:{ref.name}:shop:Deployment:no",), all=False, filter=ItemFilter(), confirmed=True)

    assert await act_on_items(settings, "retry", ItemCommand("me"), one, "table") == FAILED
    assert "There is no open item with this name." in capsys.readouterr().out


async def _names(client: Client, ref: ClusterRef, wanted: ItemFilter, of: int) -> set[str]:
    """Temporal's lists lag behind by a moment."""
    found: set[str] = set()
    for _ in range(50):
        found = {one["name"] for one in await find_items(client, ref.name, wanted)}
        if len(found) == of:
            break
        await asyncio.sleep(0.1)
    return found
