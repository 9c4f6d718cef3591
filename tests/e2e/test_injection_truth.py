"""What the product foretells of injection is what a real istiod does, by which revision and with which proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from activities.kube.client import connect
from deploy.local import lifecycle
from deploy.local.istio import install_istio
from deploy.local.mesh import Mesh
from deploy.local.service import Temporal, service
from mesh.errors import RejectedError
from tests.e2e.injection_setups import REFUSED, SET_UPS, istioctl
from tests.e2e.injection_trial import TAGS, Case, Seen, Trial

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
async def opened(truth_mesh: Mesh) -> AsyncIterator[Trial]:
    """The mesh with a namespace for every case."""
    worker = service(truth_mesh, Temporal("", "")).worker_kubeconfig
    async with await connect(str(truth_mesh.kubeconfig)) as maker, await connect(str(worker)) as reader:
        trial = Trial(truth_mesh, maker, reader)
        await trial.open_namespaces([*REFUSED, *(one for set_up in SET_UPS.values() for one in set_up.cases)])
        yield trial


@pytest_asyncio.fixture(scope="module")
async def trial(opened: Trial, request: pytest.FixtureRequest) -> AsyncIterator[Trial]:
    """The mesh in the state that is named; pytest runs the tests of one state together."""
    async with opened.within(SET_UPS[request.param]):
        yield opened


def _in_every_state() -> list[object]:
    return [
        pytest.param(name, one, id=f"{name}: {one.name}") for name, set_up in SET_UPS.items() for one in set_up.cases
    ]


@pytest.mark.parametrize(("trial", "one"), _in_every_state(), indirect=["trial"])
async def test_injection_is_foretold(trial: Trial, one: Case) -> None:
    seen = await trial.seen(one)
    decision = trial.decided(one)
    told = await trial.told(one) if decision.injected else None

    assert seen == one.expected
    assert Seen(decision.revision, told.image if told else None) == seen
    assert told is None or told.source == "injector"


@pytest.mark.parametrize(("trial", "one"), _in_every_state(), indirect=["trial"])
async def test_image_is_right_or_unknown_without_istiod(trial: Trial, one: Case) -> None:
    if one.expected.revision is None:
        return
    told = await trial.told(one, reachable=False)

    assert told.image in (one.expected.image, None)
    assert told.source != "injector"


@pytest.mark.parametrize(
    ("trial", "one"), [pytest.param("installed", one, id=one.name) for one in REFUSED], indirect=["trial"]
)
async def test_no_image_is_told_of_a_pod_that_the_injector_refuses(trial: Trial, one: Case) -> None:
    with pytest.raises(RejectedError):
        await trial.seen(one)

    told = await trial.told(one)

    assert (told.image, bool(told.problem)) == (None, True)
