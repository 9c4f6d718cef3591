"""The remediation queue of a real upgrade, through the commands of the CLI."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import kubectl, read
from deploy.local.service import Service
from mesh.wellknown import EARLIER_WARNING, PROXY_RESET_WARNING
from tests.e2e.command import Done, run
from tests.e2e.conftest import TAGS, NewProxy, open_namespace
from tests.e2e.workloads import make, make_pod, proxies

pytestmark = pytest.mark.mesh

_OLD_TEXT = "pod sidecar could not be updated because OwnerReferences is Job or was not found . Istio might not work."
_CRASH = "behaviour.local-mesh/pod"


class Queue:
    """The queue, in a namespace of the story's own."""

    def __init__(self, stage: Service, folder: Path) -> None:
        self.stage = stage
        self.mesh = stage.mesh
        self.namespace = f"queue-{secrets.token_hex(3)}"
        self._folder = folder
        open_namespace(self.mesh, self.namespace)

    def alone(self, name: str, **annotations: str) -> None:
        """Creates a standalone Pod."""
        make_pod(self.mesh, self.namespace, name, annotations=annotations, labels={"app": name})

    def paused(self, name: str) -> None:
        """Creates a Deployment and pauses its rollout."""
        make(self.mesh, self.namespace, name)
        kubectl(self.mesh, "-n", self.namespace, "rollout", "pause", f"deployment/{name}")

    def upgrade(self, policy: str = "", *, wait: bool = True) -> Done:
        """Changes the proxy of every workload, and upgrades to it."""
        proxy = NewProxy(self.mesh)
        proxy.give(next(one for one in TAGS if one != proxy.values()["global"]["tag"]))
        return self.again(policy, wait=wait)

    def again(self, policy: str = "", *, wait: bool = True) -> Done:
        """Upgrades to the proxy that the injector gives already."""
        file = self._folder / "policy.yaml"
        file.write_text(f"soak: 0s\nnoProgress: {{rollout: 8s}}\n{policy}\n")
        more = ["--wait"] if wait else []
        return run(self.stage.environment, "start", "--to", "current", "--policy", str(file), "-o", "json", *more)

    def items(self, *filters: str) -> dict[str, Any]:
        """Returns the items of this namespace by name."""
        found = run(self.stage.environment, "queue", "list", "-n", self.namespace, "-o", "json", *filters)
        assert found.code == 0, found.stderr
        return {one["name"]: one for one in found.document["items"]}

    def show(self, kind: str, name: str) -> Any:  # noqa: ANN401  # JSON
        """Returns one item with everything about it."""
        done = run(self.stage.environment, "queue", "show", f"{self.namespace}/{kind}/{name}", "-o", "json")
        return done.document

    def act(self, command: str, *arguments: str) -> Done:
        """Runs an operator's command with names as `Kind/name`."""
        named = [f"{self.namespace}/{one}" if one.count("/") == 1 else one for one in arguments]
        return run(self.stage.environment, "queue", command, *named, "-o", "json")

    def closes(self, name: str) -> None:
        """Waits until an item is closed."""
        wait_for(f"the item of {name} to close", lambda: name not in self.items(), 60)

    def warnings(self) -> dict[str, dict[str, str]]:
        """Returns our annotations by Pod, of the Pods that have any."""
        found = {}
        for pod in read(self.mesh, "pods", "-n", self.namespace)["items"]:
            about = pod["metadata"].get("annotations", {})
            if PROXY_RESET_WARNING in about:
                found[pod["metadata"]["name"]] = {
                    key: about[key] for key in (PROXY_RESET_WARNING, EARLIER_WARNING) if key in about
                }
        return found

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl in this namespace."""
        return kubectl(self.mesh, "-n", self.namespace, *arguments)


@pytest.fixture
def queue(stage: Service, tmp_path: Path) -> Iterator[Queue]:
    """An empty queue."""
    queue = Queue(stage, tmp_path)
    yield queue
    kubectl(queue.mesh, "delete", "namespace", queue.namespace, "--wait=false", "--ignore-not-found")
    wait_for("the queue to be empty", lambda: queue.items() == {}, 90)


def test_operator_works_through_the_queue(queue: Queue) -> None:
    name = f"odd-{secrets.token_hex(3)}"
    queue.alone(name)
    queue.paused("letters")
    assert queue.upgrade().code == 3
    items = queue.items()

    assert {one["name"]: one["reason"] for one in items.values()} == {name: "StandalonePod", "letters": "RolloutPaused"}
    assert set(queue.warnings()) == {name, *items["letters"]["pods"]}
    assert queue.warnings()[name][PROXY_RESET_WARNING].startswith("StandalonePod:")

    refused = queue.act("resolve", f"Pod/{name}", "--because", "looks fine")
    assert refused.code == 1
    assert "StandalonePod still holds" in refused.document["items"][0]["message"]
    assert "A restart does not help" in queue.act("retry", f"Pod/{name}").document["items"][0]["message"]

    # What the advice says: resume, and a restart, which the queue does itself.
    queue.kubectl("rollout", "resume", "deployment/letters")
    wait_for("the cause to be gone", lambda: "The cause is gone" in queue.show("Deployment", "letters")["nextStep"], 30)
    retried = queue.act("retry", "Deployment/letters", "--because", "resumed")
    assert retried.code == 0
    assert retried.document["items"][0]["message"] == "retrying"
    queue.closes("letters")
    shown = queue.show("Deployment", "letters")
    assert shown["closed"] == "its Pods run the expected proxy"
    done = [(one["what"], one["because"]) for one in shown["history"]]
    assert done == [("retry", "resumed"), ("attempt 1", "resumed")]
    assert set(queue.warnings()) == {name}

    queue.kubectl("delete", "pod", name)
    queue.closes(name)
    assert queue.show("Pod", name)["closed"] == "the workload has no Pods any more"


def test_skipped_item_is_none_until_its_day(queue: Queue) -> None:
    queue.alone("vendor")
    queue.alone("other")
    assert queue.upgrade().code == 3
    skipped = queue.act(
        "skip",
        "--all",
        "--reason",
        "StandalonePod",
        "-n",
        queue.namespace,
        "--yes",
        "--until",
        "2999-01-31",
        "--because",
        "the vendor's",
    )

    assert skipped.code == 0
    assert [one["ok"] for one in skipped.document["items"]] == [True, True]
    assert queue.items() == {}
    assert set(queue.items("--state", "skipped")) == {"vendor", "other"}
    wait_for("the warnings to go", lambda: queue.warnings() == {}, 20)

    again = queue.again()
    assert (again.code, again.document["items"]["open"]) == (0, 0)
    assert set(queue.items("--state", "skipped")) == {"vendor", "other"}
    assert queue.act("snooze", "Pod/vendor", "--for", "2h").code == 0
    assert set(queue.items()) == {"vendor"}


def test_forced_resolve_holds_for_the_upgrade(queue: Queue) -> None:
    queue.alone("leaving")
    assert queue.upgrade().code == 3

    assert queue.act("resolve", "Pod/leaving", "--force").code == 2
    assert queue.act("resolve", "Pod/leaving", "--force", "--because", "is deleted on Friday").code == 0
    assert queue.items() == {}
    # The next upgrade opens the item again.
    assert queue.again().code == 3
    assert set(queue.items()) == {"leaving"}


def test_foreign_warnings_are_kept_or_adopted(queue: Queue) -> None:
    queue.alone("noted", **{PROXY_RESET_WARNING: "ask Ann before you touch this"})
    queue.alone("adopted", **{PROXY_RESET_WARNING: _OLD_TEXT})
    queue.paused("letters")
    assert queue.upgrade().code == 3
    warnings = queue.warnings()

    assert warnings["noted"][EARLIER_WARNING] == "ask Ann before you touch this"
    assert warnings["adopted"][EARLIER_WARNING] == _OLD_TEXT
    assert all(
        one[PROXY_RESET_WARNING].split(":")[0] in ("StandalonePod", "RolloutPaused") for one in warnings.values()
    )

    # A warning that was edited by hand stays.
    edited = min(set(warnings) - {"noted", "adopted"})
    queue.kubectl("annotate", "--overwrite", "pod", edited, f"{PROXY_RESET_WARNING}=mine")
    queue.act("skip", "Pod/noted", "Pod/adopted", "Deployment/letters", "--until", "2999-01-31", "--because", "later")
    expected = {"noted": {PROXY_RESET_WARNING: "ask Ann before you touch this"}, edited: {PROXY_RESET_WARNING: "mine"}}
    wait_for("ours to be gone", lambda: queue.warnings() == expected, 30)


def test_later_pod_is_warned_and_one_of_the_same_name_is_checked_again(queue: Queue) -> None:
    queue.paused("letters")
    queue.alone("twin")
    assert queue.upgrade().code == 3
    before = set(queue.warnings())
    queue.kubectl("scale", "deployment/letters", "--replicas=1")
    gone = sorted(before - {"twin"} - set(_names(queue)))
    queue.kubectl("delete", "pod", "twin")
    # Another Pod of the same name, with the new proxy.
    queue.alone("twin")

    queue.closes("twin")
    wait_for("its Pods to be warned", lambda: set(queue.warnings()) <= set(_names(queue)) - {"twin"}, 30)
    assert len(gone) <= 1
    assert set(queue.items()) == {"letters"}


def test_queue_outlives_a_temporal_that_is_killed(queue: Queue) -> None:
    queue.alone("odd")
    queue.alone("even")
    assert queue.upgrade().code == 3
    assert queue.act("snooze", "Pod/odd", "--for", "2h", "--because", "tomorrow").code == 0
    queue.stage.restart_temporal()

    assert {one["name"]: one["state"] for one in queue.items().values()} == {"odd": "snoozed", "even": "open"}
    assert [one["because"] for one in queue.show("Pod", "odd")["history"]] == ["tomorrow"]
    queue.kubectl("delete", "pod", "odd")
    queue.closes("odd")
    assert queue.act("skip", "Pod/even", "--until", "2999-01-31", "--because", "vendor").code == 0
    wait_for("its warning to go", lambda: queue.warnings() == {}, 30)


def test_namespace_that_is_deleted_closes_its_items(queue: Queue) -> None:
    queue.alone("one")
    queue.alone("two")
    assert queue.upgrade().code == 3
    kubectl(queue.mesh, "delete", "namespace", queue.namespace)

    wait_for("the items to close", lambda: queue.items() == {}, 60)


def test_upgrade_waits_for_its_queue_and_restarts_what_was_fixed(queue: Queue) -> None:
    queue.paused("letters")
    assert queue.upgrade("remediation: wait", wait=False).code == 0
    environment = queue.stage.environment

    def phase() -> str:
        found: str = run(environment, "status", "-o", "json").document["phase"]
        return found

    wait_for("the upgrade to wait for its queue", lambda: phase() == "waiting-queue", 60)
    queue.kubectl("rollout", "resume", "deployment/letters")
    ended = run(environment, "wait", "--timeout", "4m", "-o", "json")

    assert (ended.code, ended.document["result"]) == (0, "done")
    assert len(proxies(queue.mesh, queue.namespace, "letters")) == 1
    queue.closes("letters")


def test_failed_restart_is_retried_once_fixed(queue: Queue) -> None:
    make(queue.mesh, queue.namespace, "breaks")
    # Pods that are made from now on crash; those that run stay as they are.
    _behave(queue, "breaks", "crash-looping")
    assert queue.upgrade().code == 3
    assert queue.items()["breaks"]["reason"] in ("RolloutTimedOut", "RolloutFailing", "CrashLooping")

    assert queue.act("retry", "Deployment/breaks", "--because", "once more").code == 0
    wait_for("it to fail", lambda: queue.items()["breaks"]["state"] == "open", 60)
    shown = queue.show("Deployment", "breaks")
    assert (shown["attempts"], shown["history"][-1]["result"].split(":")[0]) == (1, "failed")

    _behave(queue, "breaks", "running")
    queue.closes("breaks")
    assert queue.warnings() == {}


def _behave(queue: Queue, name: str, how: str) -> None:
    patch = json.dumps({"spec": {"template": {"metadata": {"annotations": {_CRASH: how}}}}})
    queue.kubectl("patch", "deployment", name, "--type=merge", "-p", patch)


def _names(queue: Queue) -> list[str]:
    pods = read(queue.mesh, "pods", "-n", queue.namespace)["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
