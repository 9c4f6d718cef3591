"""The injector is asked once about a template, as long as neither the template nor the injector changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from activities.kube.client import ClusterClient
from activities.restart import expected_proxy_cache
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from mesh.istio.expected_proxy import ExpectedProxy, InjectionQuery
from mesh.istio.injection import Injector
from mesh.istio.injector_config import injector_config
from mesh.k8s.objects import PodTemplate, Workload
from mesh.k8s.workload_ref import WorkloadRef
from tests.mesh.build import NEW, config_map, injector, make_namespace, template, workload

CART = workload(made_from=template({"app": "cart"}))


class FakeInjector:
    """Gives every template the new proxy, and counts how often it is asked."""

    def __init__(self) -> None:
        self.injector = injector()
        self.now = 100.0
        self.readings = 0
        #: Seconds until it answers.
        self.takes = 0.0
        self.asked: list[InjectionQuery] = []
        self.raw_workloads: dict[str, Workload] = {}

    async def read_injector(self, _: ClusterClient) -> Injector:
        self.readings += 1
        await asyncio.sleep(0)
        return self.injector

    async def ask_injector(
        self, _: ClusterClient, __: Injector, questions: Iterable[InjectionQuery]
    ) -> Mapping[str, ExpectedProxy]:
        found = list(questions)
        self.asked += found
        await asyncio.sleep(0)
        self.now += self.takes
        return {one.key: ExpectedProxy(NEW, "injector") for one in found}

    async def read_workload(self, _: ClusterClient, workload: WorkloadRef) -> Workload:
        return self.raw_workloads[str(workload)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeInjector:
    injector_and_clock = FakeInjector()
    for name in ("read_injector", "ask_injector", "read_workload"):
        monkeypatch.setattr(expected_proxy_cache, name, getattr(injector_and_clock, name))
    # Of this module alone: the event loop has a clock of its own.
    monkeypatch.setattr(
        "activities.restart.expected_proxy_cache.time", SimpleNamespace(monotonic=lambda: injector_and_clock.now)
    )
    return injector_and_clock


@pytest.fixture
def proxies(fake: FakeInjector) -> ExpectedProxyCache:
    return ExpectedProxyCache(cast("ClusterClient", fake))


def of_generation(one: Workload, generation: int, made_from: PodTemplate | None = None) -> Workload:
    metadata = msgspec.structs.replace(one.metadata, generation=generation)
    spec = msgspec.structs.replace(one.spec, template=made_from or one.spec.template)
    return msgspec.structs.replace(one, metadata=metadata, spec=spec)


async def test_observations_at_the_same_time_ask_once(fake: FakeInjector, proxies: ExpectedProxyCache) -> None:
    found = await asyncio.gather(*(proxies.get(CART, make_namespace()) for _ in range(20)))

    assert found == [ExpectedProxy(NEW, "injector")] * 20
    assert (fake.readings, len(fake.asked)) == (1, 1)


async def test_changed_generation_is_asked_about_again(fake: FakeInjector, proxies: ExpectedProxyCache) -> None:
    out = template({"app": "cart", "sidecar.istio.io/inject": "false"})

    assert (await proxies.get(CART, make_namespace())).image == NEW
    assert (await proxies.get(of_generation(CART, 2, out), make_namespace())).image is None
    assert (await proxies.get(of_generation(CART, 3), make_namespace())).image == NEW
    assert fake.readings == 1


async def test_recreated_workload_of_the_same_name_is_asked_about_again(
    fake: FakeInjector, proxies: ExpectedProxyCache
) -> None:
    out = template({"app": "cart", "sidecar.istio.io/inject": "false"})
    again = of_generation(CART, 1, out)
    again = msgspec.structs.replace(again, metadata=msgspec.structs.replace(again.metadata, uid="another"))

    assert (await proxies.get(CART, make_namespace())).image == NEW
    assert (await proxies.get(again, make_namespace())).image is None


async def test_workloads_with_equal_templates_share_an_answer(fake: FakeInjector, proxies: ExpectedProxyCache) -> None:
    for name in ("cart", "pay", "ship"):
        assert (await proxies.get(workload(name=name, made_from=CART.template), make_namespace())).image == NEW

    assert len(fake.asked) == 1


@pytest.mark.parametrize(("later", "readings"), [(4.9, 1), (5.1, 2)])
async def test_injector_is_read_again_after_five_seconds(
    fake: FakeInjector, proxies: ExpectedProxyCache, later: float, readings: int
) -> None:
    await proxies.get(CART, make_namespace())
    fake.now += later
    fake.injector = Injector()
    found = await proxies.get(CART, make_namespace())

    assert fake.readings == readings
    assert (found.image is None) is (readings == 2)


async def test_namespace_without_the_injection_label_counts_at_once(
    fake: FakeInjector, proxies: ExpectedProxyCache
) -> None:
    assert (await proxies.get(CART, make_namespace())).image == NEW
    assert (await proxies.get(CART, make_namespace(labels={}))).image is None
    assert fake.readings == 1


async def test_injector_that_hangs_is_waited_for_once(fake: FakeInjector, proxies: ExpectedProxyCache) -> None:
    fake.takes = 10.0

    await asyncio.gather(
        *(proxies.get(workload(name=f"w{one}", made_from=CART.template), make_namespace()) for one in range(9))
    )

    assert (fake.readings, len(fake.asked)) == (1, 1)


async def test_template_without_injection_says_why(proxies: ExpectedProxyCache) -> None:
    found = await proxies.get(CART, make_namespace(labels={}))

    assert found.image is None
    assert found.problem is None
    assert str(found) == "no injection webhook selects it"


async def test_workload_without_a_template_says_so(proxies: ExpectedProxyCache) -> None:
    bare = msgspec.structs.replace(CART, spec=msgspec.structs.replace(CART.spec, template=None))

    assert await proxies.get(bare, make_namespace()) == ExpectedProxy(None, None, "it has no Pod template")


async def test_edited_injection_template_needs_the_whole_workload(
    fake: FakeInjector, proxies: ExpectedProxyCache
) -> None:
    common = injector_config(config_map(values='{"global": {"hub": "hub", "tag": "1.30.2"}}'))
    fake.injector = injector(configs=(replace(common, image_is_common=False),))
    made = msgspec.structs.replace(template({"app": "cart"}), spec=msgspec.structs.replace(template().spec, raw="{}"))
    fake.raw_workloads["shop/Deployment/cart"] = of_generation(CART, 1, made)

    assert (await proxies.get(CART, make_namespace())).image == NEW
    assert [one.template.spec.raw for one in fake.asked] == ["{}"]
    assert [one.problem for one in fake.asked] == [None]


async def test_plain_injection_template_needs_no_further_reading(
    fake: FakeInjector, proxies: ExpectedProxyCache
) -> None:
    await proxies.get(CART, make_namespace())

    assert [one.template for one in fake.asked] == [CART.template]


async def test_failed_reading_is_not_kept(
    fake: FakeInjector, proxies: ExpectedProxyCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: ClusterClient) -> Injector:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(expected_proxy_cache, "read_injector", refuse)
        with pytest.raises(ConnectionError):
            await proxies.get(CART, make_namespace())

    assert (await proxies.get(CART, make_namespace())).image == NEW
