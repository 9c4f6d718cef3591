"""Clusters in a bad state: what a survey reports, and what an upgrade does about it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import lifecycle
from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import KubectlError, apply, kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.service import Service, Temporal, account_kubeconfig
from tests.e2e.command import Done, run
from tests.e2e.conftest import NewProxy, open_namespace
from tests.e2e.workloads import make

pytestmark = pytest.mark.mesh

_RBAC = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
_INJECTOR = "istio-sidecar-injector"
_ONE, _OTHER = (f"proxyv2@sha256:{digit * 64}" for digit in "12")

#: As RBAC has them.
Rules = Sequence[dict[str, Any]]
#: Makes a kubeconfig with some rights everywhere, and with all that a worker may read within some namespaces.
Rights = Callable[..., Path]
_OF_THE_CLUSTER = ("namespaces", "mutatingwebhookconfigurations", "proxyconfigs")


@pytest.fixture(scope="module")
def bare() -> Iterator[Service]:
    """A cluster without Istio, with one Deployment."""
    lifecycle.down("test-bare")
    try:
        mesh = lifecycle.up("test-bare", None, node_count=1)
        make(mesh, "default", "cart")
        yield Service(mesh, Temporal(0, 0), mesh.kubeconfig)
    finally:
        lifecycle.down("test-bare")


@pytest.fixture(scope="module")
def shop(platform: Service) -> Iterator[str]:
    """A namespace with one Deployment, cart, that is left as it is."""
    open_namespace(platform.mesh, "bad-worlds")
    make(platform.mesh, "bad-worlds", "cart", replicas=1)
    yield "bad-worlds"
    kubectl(platform.mesh, "delete", "namespace", "bad-worlds", "--wait=false")


@pytest.fixture
def rights(platform: Service, tmp_path: Path) -> Iterator[Rights]:
    """A service account of its own for each story."""
    mesh, group = platform.mesh, "rbac.authorization.k8s.io"
    name = f"few-{secrets.token_hex(4)}"
    labels = {"kyma-upgrade-story": name}

    def give(everywhere: Rules, within: Sequence[str] = ()) -> Path:
        account = {"name": name, "namespace": "default"}
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account | {"labels": labels}}
        ]
        for place, rules in [(None, everywhere), *((one, _reading()) for one in within)]:
            role = f"{name}-{place or 'everywhere'}"
            metadata = {"name": role, "labels": labels}
            bound = {"namespace": place} if place else {}
            objects += [
                {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules},
                {
                    "apiVersion": f"{group}/v1",
                    "kind": "RoleBinding" if place else "ClusterRoleBinding",
                    "metadata": metadata | bound,
                    "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                    "subjects": [account | {"kind": "ServiceAccount"}],
                },
            ]
        apply(mesh, *objects)
        place = next(iter(within), "default")
        wait_for("the rights", lambda: _may_list_jobs(mesh, f"system:serviceaccount:default:{name}", place), 30)
        return account_kubeconfig(mesh, "default", name, tmp_path / "kubeconfig")

    yield give
    kinds = "serviceaccounts,clusterroles,clusterrolebindings,rolebindings"
    kubectl(mesh, "delete", kinds, "-A", "-l", f"kyma-upgrade-story={name}")


@pytest.fixture
def broken_injector(platform: Service) -> Iterator[Callable[[str], None]]:
    """Breaks one key of the injector's ConfigMap; whole again afterwards."""
    before = read(platform.mesh, "configmap", _INJECTOR, "-n", "istio-system")["data"]

    def write(data: dict[str, str]) -> None:
        patch = json.dumps({"data": data})
        kubectl(platform.mesh, "patch", "configmap", _INJECTOR, "-n", "istio-system", "--type=merge", "-p", patch)

    yield lambda key: write({key: "{"})
    write(before)


def test_cluster_without_istio_is_reported_and_every_pod_counted(bare: Service) -> None:
    done = _scan(bare)

    pods = len(read(bare.mesh, "pods", "-A")["items"])
    assert done.document["totals"]["pods"] == pods == 2
    assert done.document["totals"]["classes"]["uninjected"] == pods
    assert (done.document["controlPlane"], done.document["target"]) == ([], None)
    assert done.document["problems"] == ["There is no istiod in istio-system."]
    assert done.stderr == "There is no istiod in istio-system.\n"


def test_image_of_a_digest_alone_is_compared_and_shown(platform: Service, namespace: str, new_proxy: NewProxy) -> None:
    make(platform.mesh, namespace, "tagged")
    new_proxy.give_image(f"docker.io/istio/{_ONE}")
    make(platform.mesh, namespace, "pinned-down")

    before = _workloads(_scan(platform, "-n", namespace))
    new_proxy.give_image(f"docker.io/istio/{_OTHER}")
    after = _workloads(_scan(platform, "-n", namespace))
    table = run(platform.environment, "scan", "-n", namespace, "-o", "table").stdout

    assert {name: one["class"] for name, one in before.items()} == {"tagged": "stale", "pinned-down": "current"}
    assert {name: one["class"] for name, one in after.items()} == {"tagged": "stale", "pinned-down": "stale"}
    assert after["pinned-down"]["proxies"] == {f"docker.io/istio/{_ONE}": 2}
    assert after["pinned-down"]["expectedProxy"] == f"docker.io/istio/{_OTHER}"
    assert "sha256:111111111111 > sha256:222222222222" in table
    assert "1.29.3 > sha256:222222222222" in table


def test_status_that_does_not_parse_is_drift_and_no_reason_to_restart(platform: Service, namespace: str) -> None:
    make(platform.mesh, namespace, "cart", replicas=1)
    kubectl(platform.mesh, "annotate", "pods", "--all", "-n", namespace, "--overwrite", "sidecar.istio.io/status={")

    found = _workloads(_scan(platform, "-n", namespace))["cart"]

    assert (found["class"], found["action"], found["drift"]) == ("current", "none", ["status"])
    assert found["detail"] == "sidecar.istio.io/status names no revision"


@pytest.mark.parametrize("key", ["values", "config"])
def test_injector_that_does_not_parse_is_reported_and_asked_all_the_same(
    platform: Service, shop: str, broken_injector: Callable[[str], None], key: str
) -> None:
    """istiod goes on with what it read last."""
    broken_injector(key)

    done = _scan(platform, "-n", shop)

    found = _workloads(done)["cart"]
    assert (found["class"], found["expectedFrom"]) == ("current", "injector")
    assert done.document["controlPlane"][0]["proxyImage"] is None
    assert _reported(done, f"ConfigMap {_INJECTOR} does not parse: ")


@pytest.mark.parametrize(
    ("without", "sentence", "pod_class"),
    [
        ("statefulsets", "StatefulSets cannot be read in {namespace}: ", "current"),
        ("deployments", "Deployments cannot be read in {namespace}: ", "current"),
        ("namespaces", "Namespaces cannot be read: ", "unknown"),
        ("mutatingwebhookconfigurations", "Injection webhooks cannot be read: ", "unknown"),
        ("configmaps", "Injector ConfigMaps cannot be read: ", "current"),
        ("poddisruptionbudgets", "PodDisruptionBudgets cannot be read in {namespace}: ", "current"),
        ("proxyconfigs", "ProxyConfigs cannot be read: ", "current"),
    ],
)
def test_kind_that_may_not_be_read_is_reported_and_the_others_are_shown(
    platform: Service, shop: str, rights: Rights, without: str, sentence: str, pod_class: str
) -> None:
    few = rights(_reading(without=without))

    done = _scan(platform, "-n", shop, kubeconfig=few)

    (found,) = done.document["workloads"]
    assert found["class"] == pod_class
    assert done.document["totals"]["pods"] == 1
    assert _reported(done, sentence.format(namespace=shop))
    assert f'cannot list resource "{without}"' in done.stderr or f'cannot get resource "{without}"' in done.stderr


def test_namespace_that_may_not_be_read_is_reported_and_the_others_are_shown(
    platform: Service, shop: str, rights: Rights
) -> None:
    few = rights(_reading(only=_OF_THE_CLUSTER), within=[shop, "istio-system"])

    everywhere = _scan(platform, kubeconfig=few)
    named = _scan(platform, "-n", shop, "-n", "kyma-system", kubeconfig=few)

    for done in (everywhere, named):
        found = _workloads(done)
        assert found["cart"]["class"] == "current"
        assert {one["namespace"] for one in found.values()} <= {shop, "istio-system"}
    assert _reported(everywhere, "Pods cannot be read in default, ")
    assert _reported(named, "Pods cannot be read in kyma-system: ")


def test_reader_of_one_namespace_is_shown_its_pods(platform: Service, shop: str, rights: Rights) -> None:
    few = rights([], within=[shop])

    done = _scan(platform, "-n", shop, kubeconfig=few)

    found = _workloads(done)["cart"]
    assert (found["class"], found["reason"], found["pods"]) == ("unknown", "UnknownProxy", 1)
    assert _reported(done, "Injection webhooks cannot be read: ")
    assert _reported(done, "The control plane cannot be read: ")


def test_scan_without_permission_to_read_pods_ends_with_2(platform: Service, rights: Rights) -> None:
    few = rights(_reading(without="pods"))

    done = run(platform.environment, "scan", "--kubeconfig", str(few))

    assert done.code == 2
    assert done.stdout == ""
    assert "Pods cannot be read: A permission is missing: pods is forbidden" in done.stderr
    assert "Grant the permission, or name namespaces with -n." in done.stderr


def _reading(without: str = "", only: Sequence[str] = ()) -> Rules:
    """The rules of the shipped roles that only read, less one kind, or of some kinds only."""
    roles = [one for one in yaml.safe_load_all(_RBAC.read_text()) if one["kind"] in ("Role", "ClusterRole")]
    rules = [rule for role in roles for rule in role["rules"] if set(rule["verbs"]) <= {"get", "list", "watch"}]
    less = [
        rule | {"resources": [one for one in rule["resources"] if one != without and (one in only or not only)]}
        for rule in rules
    ]
    return [rule for rule in less if rule["resources"]]


def _may_list_jobs(mesh: Mesh, user: str, namespace: str) -> bool:
    """Whether the API server has learned of the user's rights: every story grants this one."""
    try:
        kubectl(mesh, "auth", "can-i", "list", "jobs.batch", "-n", namespace, "--as", user)
    except KubectlError:
        return False
    return True


def _scan(stage: Service, *arguments: str, kubeconfig: Path | None = None) -> Done:
    chosen = ("--kubeconfig", str(kubeconfig or stage.worker_kubeconfig))
    done = run(stage.environment, "scan", "-o", "json", *arguments, *chosen)
    assert done.code == 0, done.stderr
    return done


def _workloads(done: Done) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in done.document["workloads"]}


def _reported(done: Done, sentence: str) -> bool:
    """Returns whether the sentence is in the document and on stderr."""
    return any(one.startswith(sentence) for one in done.document["problems"]) and sentence in done.stderr
