"""How the module goes through the Pods: pages, Kyma first, what counts as a failure."""

from typing import Any

import pytest

from deploy.local.kyma.api import Api, ApiError, Object
from deploy.local.kyma.restarts import RestartError, leftover_message, restart_sidecars
from deploy.local.kyma.selection import ExpectedProxy

from .pods import NEW, RESOURCES, pod

EXPECTED = ExpectedProxy(NEW, RESOURCES)


class FakeApi(Api):
    """Serves Pods in the given pages, records patches, and refuses those that `refuse` names."""

    def __init__(self, *pages: list[Object], refuse: str = "nothing") -> None:
        self.pages = pages
        self.refuse = refuse
        self.patched: list[str] = []

    def get(self, path: str, **query: str | int) -> Object:
        assert (path, query["field_selector"], query["limit"]) == ("/api/v1/pods", "status.phase=Running", 30)
        number = int(query.get("continue", 0))
        following = str(number + 1) if number + 1 < len(self.pages) else ""
        return {"items": self.pages[number], "metadata": {"continue": following}}

    def patch(self, path: str, body: Object, content_type: str = "") -> Object:  # noqa: ARG002
        if self.refuse in path:
            raise ApiError(403, "denied by the hold")
        self.patched.append(path.rpartition("/")[2])
        return body

    def delete(self, path: str) -> None:
        self.patched.append(f"deleted {path.rpartition('/')[2]}")

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        assert name not in {"post", "apply"}, "the module only patches and deletes here"
        return super().__getattribute__(name)


def test_workload_is_patched_once_per_page_and_again_on_the_next() -> None:
    owned = [pod(f"db-{n}", owner=("StatefulSet", "db")) for n in range(3)]
    api = FakeApi(owned[:2], owned[2:])

    assert restart_sidecars(api, EXPECTED) == []
    assert api.patched == ["db", "db"]


def test_kyma_workloads_come_first() -> None:
    api = FakeApi([pod(owner=("DaemonSet", "shop")), pod(namespace="kyma-system", owner=("DaemonSet", "kyma"))])
    restart_sidecars(api, EXPECTED)

    assert api.patched == ["kyma", "shop"]


def test_refused_customer_is_neither_a_failure_nor_left_over() -> None:
    api = FakeApi([pod("a-0", owner=("StatefulSet", "held")), pod("b-0", owner=("StatefulSet", "free"))], refuse="held")

    assert restart_sidecars(api, EXPECTED) == []
    assert api.patched == ["free"]


def test_unsupported_owner_of_a_customer_leaves_no_trace() -> None:
    assert restart_sidecars(FakeApi([pod(owner=("CloneSet", "c"))]), EXPECTED) == []


def test_refused_kyma_workload_fails_before_any_customer() -> None:
    api = FakeApi(
        [pod(owner=("DaemonSet", "shop")), pod(namespace="kyma-system", owner=("DaemonSet", "k"))], refuse="k"
    )

    with pytest.raises(RestartError, match="denied by the hold"):
        restart_sidecars(api, EXPECTED)
    assert api.patched == []


def test_bare_kyma_pod_fails_by_name() -> None:
    with pytest.raises(RestartError, match="could not be restarted: kyma-system/test-pod"):
        restart_sidecars(FakeApi([pod("test-pod", namespace="kyma-system")]), EXPECTED)


def test_bare_pods_and_jobs_of_customers_are_left_over() -> None:
    api = FakeApi([pod("bare"), pod("job", owner=("Job", "j")), pod("current", image=NEW)])

    assert restart_sidecars(api, EXPECTED) == ["shop/bare", "shop/job"]


@pytest.mark.parametrize(
    ("number", "end"), [(2, "shop/p0, shop/p1"), (6, "shop/p3, shop/p4 and 1 additional workload(s)")]
)
def test_message_names_at_most_five(number: int, end: str) -> None:
    message = leftover_message([f"shop/p{n}" for n in range(number)])

    assert message.startswith("The sidecars of the following workloads could not be restarted: shop/p0, shop/p1")
    assert message.endswith(end)
