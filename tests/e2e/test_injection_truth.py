"""The product predicts what a real istiod does: which revision injects, and which proxy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from activities.kube.client import connect
from deploy.local import lifecycle
from deploy.local.istio import install_istio
from deploy.local.kubectl import apply
from deploy.local.mesh import Mesh
from deploy.local.service import Temporal, service
from tests.e2e.injection_setups import SET_UPS, istioctl
from tests.e2e.injection_trial import REFUSED, TAGS, Injected, InjectionResult, Trial

pytestmark = pytest.mark.mesh

_MESH = "test-injection"


@pytest.fixture(scope="module")
def truth_mesh() -> Iterator[Mesh]:
    """A mesh with two revisions and a tag."""
    lifecycle.down(_MESH)
    try:
        mesh = lifecycle.up(_MESH, TAGS["default"], node_count=1)
        install_istio(mesh, TAGS["canary"], "canary")
        istioctl(mesh, "tag", "set", "prod", "--revision", "canary")
        yield mesh
    finally:
        lifecycle.down(_MESH)


@pytest_asyncio.fixture(scope="module")
async def trial(truth_mesh: Mesh) -> AsyncIterator[Trial]:
    """The mesh with a namespace for every case."""
    apply(truth_mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kyma-system"}})
    worker = service(truth_mesh, Temporal(0, 0)).worker_kubeconfig
    async with await connect(str(truth_mesh.kubeconfig)) as maker, await connect(str(worker)) as reader:
        trial = Trial(truth_mesh, maker, reader)
        await trial.open_namespaces([one for set_up in SET_UPS for one in set_up.cases])
        yield trial


@pytest_asyncio.fixture(scope="module", params=SET_UPS, ids=lambda set_up: set_up.name)
async def results(trial: Trial, request: pytest.FixtureRequest) -> AsyncIterator[tuple[InjectionResult, ...]]:
    """What the cases of one set-up come to; pytest runs the tests of one set-up together."""
    async with trial.within(request.param) as found:
        yield found


def test_istiod_does_what_is_written_down(results: tuple[InjectionResult, ...]) -> None:
    wrong = {one.case.name: (one.injected, one.case.expected) for one in results if one.injected != one.case.expected}

    assert wrong == {}


def test_revision_is_predicted(results: tuple[InjectionResult, ...]) -> None:
    wrong = {
        one.case.name: (one.injected, one.decision)
        for one in results
        if one.injected != REFUSED and one.decision.revision != one.injected.revision
    }

    assert wrong == {}


def test_proxy_is_predicted_and_none_where_istiod_refuses(results: tuple[InjectionResult, ...]) -> None:
    def right(one: InjectionResult) -> bool:
        if one.injected == REFUSED:
            return one.answered.image is None and bool(one.answered.problem)
        return not one.query or (one.answered.image, one.answered.source) == (one.injected.image, "injector")

    assert {one.case.name: (one.injected, one.answered) for one in results if not right(one)} == {}


def test_proxy_is_right_or_unknown_where_istiod_cannot_be_asked(results: tuple[InjectionResult, ...]) -> None:
    wrong = {
        one.case.name: (one.injected, one.rendered)
        for one in results
        if one.injected != REFUSED
        and (one.rendered.source == "injector" or one.rendered.image not in (None, one.injected.image))
    }

    assert wrong == {}


def test_templates_of_one_question_get_one_proxy(results: tuple[InjectionResult, ...]) -> None:
    served: dict[str, dict[str, Injected]] = defaultdict(dict)
    for one in results:
        if one.query:
            served[one.query][one.case.name] = one.injected
    wrong = [found for found in served.values() if len(set(found.values())) > 1]

    assert wrong == []
