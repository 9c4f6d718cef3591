"""Every reason of the queue on a real cluster: found with its evidence, fixed as its advice says, closed by itself."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from activities.kube.client import connect
from activities.kube.framing import is_frame
from activities.kube.paths import path
from activities.kube.protobuf import ACCEPT
from activities.kube.watch import WATCH_LIST, list_streamed
from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import program, read
from deploy.local.service import Service
from mesh.k8s.objects import Pod
from mesh.survey.pod_rules import STUCK_AFTER
from mesh.survey.reasons import Reason
from mesh.text import DETAIL_LIMIT
from mesh.wellknown import PROXY_RESET_WARNING
from tests.e2e.command import Done, run
from tests.e2e.conftest import QUICK, TAGS, NewProxy, stage_at_work
from tests.e2e.reasons import STORIES, TERMINATING, Place, Story

pytestmark = pytest.mark.mesh

#: Stories that are begun, or fixed, at the same time: each runs commands, and another process tests beside this one.
_BEGUN_AT_ONCE, _FIXED_AT_ONCE = 6, 3
_COMMAND_SECONDS = 90
_ALL = (TERMINATING, *STORIES)


class TroubledCluster:
    """A place for each story, and one upgrade that found all of them."""

    def __init__(self, stage: Service, folder: Path) -> None:
        self.stage = stage
        self._policy = folder / "policy.yaml"
        self._policy.write_text("soak: 0s\nnoProgress: {rollout: 15s}\napprove: [canary]\nbudget: {failed: 100%}\n")
        self.places = {
            story.name: Place(stage.mesh, f"{story.name}-{secrets.token_hex(3)}", f"odd-{secrets.token_hex(3)}")
            for story in _ALL
        }
        self._workloads: dict[str, str] = {}
        self._items: dict[tuple[str, str], Any] = {}

    def play(self) -> None:
        """Begins every story, upgrades, and reads the queue after the end of the upgrade."""
        with ThreadPoolExecutor(_BEGUN_AT_ONCE) as pool:
            self._workloads = dict(zip(self.places, pool.map(self._begin, _ALL), strict=True))
        proxy = NewProxy(self.stage.mesh)
        proxy.give(next(one for one in TAGS if one != proxy.values()["global"]["tag"]))
        self.upgrade()
        self._items = {(item["namespace"], f"{item['kind']}/{item['name']}"): item for item in self.listed()}

    def upgrade(self) -> None:
        """Upgrades; stories that act in the middle of an upgrade do so."""
        begun = self.run("start", "--to", "current", "--policy", str(self._policy), "--wait", "-o", "json")
        assert begun.code == 4, begun.stderr
        for story in _ALL:
            story.meanwhile(self.places[story.name])
        with ThreadPoolExecutor(len(_ALL)) as pool:
            acting = [pool.submit(story.in_restart, self.places[story.name]) for story in _ALL]
            assert self.run("approve").code == 0
            ended = self.run("wait", "--timeout", "4m", "-o", "json")
            for actor in acting:
                actor.result()
        assert ended.code == 3, ended.stdout

    def listed(self) -> Any:  # noqa: ANN401  # JSON
        """Returns the open items."""
        return self.run("queue", "list", "-o", "json").document["items"]

    def _begin(self, story: Story) -> str:
        place = self.places[story.name]
        place.open(**dict(story.labels))
        return story.begin(place)

    def run(self, *arguments: str) -> Done:
        """Runs `kyma-upgrade` as an operator does."""
        return run(self.stage.environment, *arguments)

    def item(self, story: Story) -> Any:  # noqa: ANN401  # JSON
        """Returns the story's item as it was after the upgrade."""
        return self._items[self.places[story.name].namespace, self._workloads[story.name]]

    def show(self, item: Any) -> Any:  # noqa: ANN401  # JSON
        """Returns an item as it is now."""
        return self.run("queue", "show", item["id"], "-o", "json").document

    def paste(self, item: Any, folder: Path, without: tuple[str, ...] = ()) -> None:  # noqa: ANN401  # JSON
        """Runs the commands of an item's advice in a shell, except those that contain one of `without`."""
        tools = f"{program().parent}{os.pathsep}{Path(sys.executable).parent}"
        environment = {**self.stage.environment, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        for command in item["commands"]:
            if any(left_out in command for left_out in without):
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                env=environment,
                cwd=folder,
                check=False,
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def closes(self, item: Any) -> str:  # noqa: ANN401  # JSON
        """Waits until an item has closed by itself, and returns why."""
        wait_for(f"the item of {item['name']} to close", lambda: bool(self.show(item)["closed"]), 60)
        closed: str = self.show(item)["closed"]
        return closed


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TroubledCluster]:
    """A mesh of its own, after the upgrade."""
    with stage_at_work("test-reasons", *QUICK) as stage:
        cluster = TroubledCluster(stage, tmp_path_factory.mktemp("reasons"))
        cluster.play()
        yield cluster


@pytest_asyncio.fixture(scope="module")
async def both_encodings(troubled: TroubledCluster) -> tuple[list[Pod], list[Pod]]:
    """All Pods before any story is fixed: streamed as protobuf, and listed as JSON."""
    async with await connect(str(troubled.stage.mesh.kubeconfig)) as cluster:
        async with contextlib.aclosing(cluster.watch_records(path("Pod"), WATCH_LIST, 60, ACCEPT)) as records:
            assert is_frame(await anext(records))
        streamed, _ = await list_streamed(cluster, path("Pod"), Pod, lambda pod: pod)
        listed, _ = await cluster.list_all(path("Pod"), Pod)
    return list(streamed), list(listed)


@pytest.fixture(scope="module", autouse=True)
def closings(
    troubled: TroubledCluster, both_encodings: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """Why the item of each story closes, by the story's name.

    Several stories are fixed at the same time, and while a test waits for something else.
    """
    with ThreadPoolExecutor(_FIXED_AT_ONCE) as pool:
        yield {story.name: pool.submit(_fix, troubled, story, tmp_path_factory.mktemp(story.name)) for story in STORIES}


def _fix(troubled: TroubledCluster, story: Story, folder: Path) -> str:
    """Checks what the item and the Pods say, fixes the workload as the advice says, and returns why the item closes."""
    place, item = troubled.places[story.name], troubled.item(story)

    assert item["reason"] == story.reason
    assert story.evidence in "\n".join(item["evidence"])
    assert len(item["detail"] or "") <= DETAIL_LIMIT
    assert all(text.isprintable() for text in (*item["evidence"], item["detail"] or ""))
    assert _warned(place) == dict.fromkeys(item["pods"], story.reason)

    story.fix(place)
    troubled.paste(item, folder, story.without)
    closed = troubled.closes(item)
    wait_for("the warnings to go", lambda: _warned(place) == {}, 20)
    return closed


def test_pods_in_trouble_are_the_same_in_both_encodings(both_encodings: tuple[list[Pod], list[Pod]]) -> None:
    streamed, listed = both_encodings

    # Some may have changed in between.
    known = {(pod.metadata.uid, pod.metadata.resource_version): pod for pod in listed}
    both = [pod for pod in streamed if (pod.metadata.uid, pod.metadata.resource_version) in known]
    assert len(both) > len(_ALL)
    for pod in both:
        assert pod == known[pod.metadata.uid, pod.metadata.resource_version]
    states = [status.state for pod in both for status in pod.status.container_statuses or () if status.state]
    assert {"waiting", "running", "terminated"} == {
        name for state in states for name in ("waiting", "running", "terminated") if getattr(state, name)
    }


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_item_that_is_fixed_as_its_advice_says_closes_by_itself(closings: dict[str, Future[str]], story: Story) -> None:
    assert closings[story.name].result() in story.closed


def test_pod_that_keeps_terminating_becomes_the_reason_once_it_is_late(
    troubled: TroubledCluster, tmp_path: Path
) -> None:
    early = troubled.item(TERMINATING)
    assert early["reason"] == Reason.NOT_READY
    late = datetime.fromisoformat(early["since"]) + STUCK_AFTER + timedelta(seconds=5)
    time.sleep(max(0.0, (late - datetime.now(UTC)).total_seconds()))
    assert troubled.run("queue", "resolve", early["id"]).code == 1
    item = troubled.show(early)

    assert item["reason"] == Reason.STUCK_TERMINATING
    assert "finalizers: example.org/hold" in item["evidence"][0]
    TERMINATING.fix(troubled.places[TERMINATING.name])
    troubled.paste(item, tmp_path)
    assert troubled.closes(item) == "its Pods run the expected proxy"


def _warned(place: Place) -> dict[str, str]:
    """Returns the reason in the warning of each Pod that has one."""
    found = {}
    for pod in (read(place.mesh, "pods", "-n", place.namespace) or {"items": []})["items"]:
        text = pod["metadata"].get("annotations", {}).get(PROXY_RESET_WARNING)
        if text is not None:
            found[pod["metadata"]["name"]] = text.split(":")[0]
    return found
