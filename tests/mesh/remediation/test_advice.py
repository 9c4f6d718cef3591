"""What an operator can do: advice for every reason, and commands that are safe to paste."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pytest

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.remediation.advice import advise
from mesh.survey.finding import Facts, Finding
from mesh.survey.reasons import RETRIABLE, Reason

REASONS = list(Reason)
_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
KINDS = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", ARGO_ROLLOUT, "Widget.example.com"]
NOTHING = Facts()
ALL = Facts("n1", "app", "app:1", ("pull", "other"), True, "cpu, memory", "slow", "small", "job/nightly-1")
#: Every variant of an entry has facts for which it is the one.
KNOWN = [NOTHING, ALL, replace(ALL, unscheduled=False), replace(ALL, resource=""), Facts(image="app:1", container="a")]
NEVER_BY_A_RESTART = {
    Reason.STANDALONE_POD,
    Reason.JOB_POD,
    Reason.UNSUPPORTED_OWNER,
    Reason.ON_DELETE,
    Reason.PARTITIONED,
    Reason.GATEWAY_NOT_UPGRADED,
}


def finding(
    reason: Reason,
    kind: str = "Deployment",
    facts: Facts = NOTHING,
    pods: tuple[str, ...] = ("cart-1",),
    name: str = "cart",
    namespace: str = "shop",
) -> Finding:
    return Finding(namespace, kind, name, reason, None, pods, len(pods), (), facts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_paragraph_and_commands_about_this_workload(reason: Reason, kind: str) -> None:
    for facts in KNOWN:
        found = advise(finding(reason, kind, facts))

        assert found.next_step.endswith(".")
        assert 60 < len(found.next_step) < 420
        assert found.closes.startswith("The item closes when ")
        assert any("cart" in one and "shop" in one for one in found.commands)
        assert not [one for one in (found.next_step, *found.commands) if _PLACEHOLDER.search(one)]


def test_every_reason_has_an_entry_of_its_own() -> None:
    assert len({advise(finding(reason)).next_step for reason in REASONS}) == len(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_restart_by_this_service_is_the_last_command_where_it_is_what_is_missing(reason: Reason) -> None:
    last = advise(finding(reason)).commands[-1]

    assert (last == "kyma-upgrade queue retry shop/Deployment/cart") is (reason not in NEVER_BY_A_RESTART)
    assert not (reason in RETRIABLE and reason in NEVER_BY_A_RESTART)


def hostile(facts: Facts, name: str) -> Facts:
    """The same facts are known, each of this name."""
    return replace(
        facts,
        node=facts.node and name,
        container=facts.container and name,
        image=facts.image and name,
        secrets=(name,) * len(facts.secrets),
        budget=facts.budget and name,
        quota=facts.quota and name,
    )


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", ["a; rm -rf ~", "$(id)", "`id`", "a'b", "a b", "a\nb", "a > b", '"; id; "'])
def test_names_cannot_leave_their_place_in_a_command(reason: Reason, name: str) -> None:
    def split_commands(name: str, kind: str, facts: Facts) -> list[list[str]]:
        named = replace(hostile(facts, name), direct=facts.direct and f"job/{name}")
        found = advise(finding(reason, kind, named, (name, name), name, name))
        return [shlex.split(one) for one in found.commands]

    for facts in KNOWN:
        for kind in (name, *KINDS):
            found, plain = split_commands(name, kind, facts), split_commands("N", kind, facts)

            assert [len(one) for one in found] == [len(one) for one in plain]


@pytest.mark.parametrize("reason", REASONS)
def test_kind_cannot_become_shell_or_option(reason: Reason) -> None:
    kind = "--server=evil;id $(id)"
    words = [word for one in advise(finding(reason, kind)).commands for word in shlex.split(one)]

    assert not any(sign in word for word in words for sign in ("--server", ";id", "$(id)") if kind not in word)
    assert {word for word in words if kind in word} <= {f"shop/{kind}/cart"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", REASONS)
def test_name_cannot_become_an_option(reason: Reason, kind: str) -> None:
    option = "--server=evil"
    for facts in KNOWN:
        found = advise(finding(reason, kind, hostile(facts, option), (option,), option))

        assert option not in [word for one in found.commands for word in shlex.split(one)]


def test_kind_is_named_as_kubectl_does() -> None:
    found = advise(finding(Reason.IMAGE_REWRITTEN, ARGO_ROLLOUT))

    assert "kubectl -n shop describe rollout.argoproj.io/cart" in found.commands


@pytest.mark.parametrize("reason", REASONS)
def test_argo_rollout_is_advised_with_plain_kubectl(reason: Reason) -> None:
    commands = advise(finding(reason, ARGO_ROLLOUT)).commands

    assert not any(" rollout " in one or "kubectl argo" in one for one in commands)


def test_argo_rollout_that_is_not_read_is_restarted_as_its_plug_in_does() -> None:
    assert advise(finding(Reason.UNSUPPORTED_OWNER, ARGO_ROLLOUT)).commands[-1] == (
        "kubectl -n shop patch rollout.argoproj.io/cart --type merge "
        '-p "{\\"spec\\":{\\"restartAt\\":\\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\\"}}"'
    )


def test_argo_rollout_that_is_paused_is_resumed_as_its_plug_in_does() -> None:
    assert advise(finding(Reason.ROLLOUT_PAUSED, ARGO_ROLLOUT)).commands[:2] == (
        'kubectl -n shop patch rollout.argoproj.io/cart --type merge -p \'{"spec":{"paused":false}}\'',
        (
            "kubectl -n shop patch rollout.argoproj.io/cart --type merge --subresource=status "
            """-p '{"status":{"pauseConditions":null}}'"""
        ),
    )


@pytest.mark.parametrize("facts", KNOWN)
@pytest.mark.parametrize("reason", REASONS)
def test_command_that_needs_an_unknown_pod_is_left_out(reason: Reason, facts: Facts) -> None:
    known = advise(finding(reason, facts=facts, pods=("the-pod",))).commands

    assert advise(finding(reason, facts=facts, pods=())).commands == tuple(one for one in known if "the-pod" not in one)


@pytest.mark.parametrize(
    ("facts", "words", "command"),
    [
        (Facts(unscheduled=True, resource="cpu"), "cpu is short", "kubectl describe nodes | "),
        (Facts(unscheduled=True), "taints, affinity", "kubectl -n shop describe pod/cart-1"),
        (
            Facts(container="app", image="hub/app:2", secrets=("a", "b")),
            "The image hub/app:2 of container app cannot be pulled with Secret a or Secret b.",
            "kubectl -n shop get secret/a secret/b",
        ),
        (Facts(container="app", image="hub/app:2"), "names no Secret", "kubectl -n shop get secrets --field-selector"),
        (Facts(container="app"), "cannot start", "kubectl -n shop describe deployment/cart"),
    ],
)
def test_pending_pods_are_advised_by_what_they_wait_for(facts: Facts, words: str, command: str) -> None:
    found = advise(finding(Reason.POD_PENDING, facts=facts))

    assert words in found.next_step
    assert found.commands[0].startswith(command)


@pytest.mark.parametrize(
    ("reason", "facts", "command"),
    [
        (Reason.POD_UNKNOWN, Facts(node="n1"), "kubectl describe node/n1"),
        (Reason.STUCK_TERMINATING, Facts(node="n1"), "kubectl get node/n1"),
        (Reason.CRASH_LOOPING, ALL, "kubectl -n shop logs pod/cart-1 --container=app --previous"),
        (Reason.DISRUPTION_BUDGET, ALL, "kubectl -n shop describe poddisruptionbudget/slow"),
        (Reason.QUOTA_EXCEEDED, ALL, "kubectl -n shop describe resourcequota/small"),
    ],
)
def test_what_the_cause_is_about_is_named_where_it_is_known(reason: Reason, facts: Facts, command: str) -> None:
    assert advise(finding(reason, facts=facts)).commands[0] == command
    assert command not in advise(finding(reason)).commands


@pytest.mark.parametrize("reason", [Reason.ON_DELETE, Reason.PARTITIONED])
def test_stateful_set_is_taken_pod_by_pod_in_order(reason: Reason) -> None:
    found = advise(finding(reason, "StatefulSet", pods=("db-10", "db-9"), name="db"))

    assert found.commands[1:] == tuple(
        f"old=$(kubectl -n shop get pod/{one} -o 'jsonpath={{.metadata.uid}}') && kubectl -n shop delete pod/{one} "
        f"--wait=false && until kubectl -n shop get pod/{one} "
        """-o 'jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null """
        '| grep -v "$old" | grep -q True; do sleep 2; done'
        for one in ("db-10", "db-9")
    )


def test_daemon_set_waits_by_its_counts_for_its_new_pods_have_other_names() -> None:
    _, command = advise(finding(Reason.ON_DELETE, "DaemonSet", name="agent")).commands

    assert command.startswith("kubectl -n shop delete pod/cart-1 && ")
    assert "wait" not in command
    assert "kubectl -n shop get daemonset/agent -o 'jsonpath={.status.desiredNumberScheduled} " in command


def test_job_is_waited_for_or_recreated() -> None:
    commands = advise(finding(Reason.JOB_POD, "Job", name="once")).commands

    assert commands[0] == "kubectl -n shop wait --for=condition=Complete job/once --timeout=1h"
    assert commands[2:] == (
        "test -s once.yaml && kubectl -n shop delete job/once",
        "kubectl -n shop create -f once.yaml",
    )


def test_job_of_a_cron_job_is_recreated_from_it() -> None:
    found = advise(finding(Reason.JOB_POD, "CronJob", ALL, name="nightly"))

    assert "Wait for job/nightly-1 to end" in found.next_step
    assert found.commands == (
        "kubectl -n shop wait --for=condition=Complete job/nightly-1 --timeout=1h",
        "kubectl -n shop delete job/nightly-1",
        "kubectl -n shop create job nightly-1 --from=cronjob/nightly",
    )
