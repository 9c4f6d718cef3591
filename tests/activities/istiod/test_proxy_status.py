"""Istiods are asked one by one, and whatever one of them answers, the others count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest

from activities.istiod import proxy_status
from mesh.istio.proxy_status import ConnectedProxies
from tests.activities.api_server import Answer, Query, api_server, server, status

#: Where istiods and their Service are in these tests: all of it is this machine.
_SERVICE, _ONE, _TWO = "127.0.0.9", "127.0.0.11", "127.0.0.12"
_CART, _PAY = ("shop", "cart-1"), ("shop", "pay-1")
_PLANE = Answer(b"1.31.0-unknown-Clean")
_NO_SERVICE = Answer(status(404, "no such Service"), 404)
_CUT = Answer(b"[", cut=0, chunked=True)


def lists(*proxies: tuple[str, str]) -> Answer:
    return Answer(json.dumps([{"proxy": proxy, "istio_version": version} for proxy, version in proxies]).encode())


LISTS_CART, LISTS_PAY = lists(("cart-1.shop", "1.30.2")), lists(("pay-1.shop", "1.31.0"))


def pods(*addresses: str) -> Answer:
    """The list of istiod's Pods, named after their place in it."""
    items = [
        {"metadata": {"name": f"istiod-{number}"}, "status": {"podIP": address} if address else {}}
        for number, address in enumerate(addresses, 1)
    ]
    return Answer(json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}).encode())


def service(address: str) -> Answer:
    return Answer(json.dumps({"spec": {"clusterIP": address}}).encode())


class Ask(Protocol):
    """What comes of these Pods of istiod, of a Service, and of what each address says to `/debug/syncz`."""

    async def __call__(
        self, istiods: Answer, said: Mapping[str, Answer], *, service: Answer = ..., plane: Answer = ...
    ) -> ConnectedProxies: ...


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setattr(proxy_status, "_MAX_BYTES", 2000)

    async def asked(
        istiods: Answer,
        said: Mapping[str, Answer],
        *,
        service: Answer = _NO_SERVICE,
        plane: Answer = _PLANE,
    ) -> ConnectedProxies:
        def api(query: Query) -> Answer:
            return istiods if query.get("labelSelector") == "app=istiod" else service

        def istiod(place: str, _: Query) -> Answer:
            host, path = place.split("/", 1)
            return said[host] if path == "debug/syncz" else plane

        async with api_server(api, tmp_path) as cluster, server(istiod, "0.0.0.0") as port:  # noqa: S104  # one port
            monkeypatch.setattr(proxy_status, "MONITORING_PORT", port)
            return await proxy_status.read_connected_proxies(cluster)

    return asked


async def test_each_istiod_is_asked_at_its_own_address(ask: Ask) -> None:
    found = await ask(pods(_ONE, _TWO), {_ONE: LISTS_CART, _TWO: LISTS_PAY})

    assert found == ConnectedProxies({_CART: "1.30.2", _PAY: "1.31.0"}, planes={"default": "1.31.0"})


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Answer(status=401), "istiod-1 shows its proxies only to identities that it knows (HTTP 401)"),
        (Answer(status=403), "istiod-1 shows its proxies only to identities that it knows (HTTP 403)"),
        (Answer(status=404), "istiod-1 does not list its proxies (HTTP 404)"),
        (
            Answer(status=302, headers={"Location": f"http://{_TWO}/debug/syncz"}),
            "istiod-1 does not list its proxies (HTTP 302)",
        ),
        (Answer(b"<html>"), "the answer of istiod-1 cannot be read: "),
        (Answer(b"[" * 3000), "the answer of istiod-1 does not end"),
        (_CUT, "istiod-1 does not answer: "),
    ],
    ids=["unknown", "forbidden", "no-debugging", "elsewhere", "no-json", "endless", "cut"],
)
async def test_answer_that_is_no_list_is_told_and_the_others_count(ask: Ask, said: Answer, problem: str) -> None:
    found = await ask(pods(_ONE, _TWO), {_ONE: said, _TWO: LISTS_PAY})

    (told,) = found.problems
    assert told.startswith(problem)
    assert found.versions == {_PAY: "1.31.0"}


async def test_istiod_that_is_silent_is_not_waited_for_long(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_status, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))

    found = await ask(pods(_ONE, _TWO), {_ONE: Answer(silent=True), _TWO: LISTS_PAY})

    assert found.problems == ("istiod-1 does not answer: TimeoutError",)
    assert found.versions == {_PAY: "1.31.0"}


async def test_istiod_that_is_nowhere_yet_is_told(ask: Ask) -> None:
    found = await ask(pods("", _TWO), {_TWO: LISTS_PAY})

    assert found.problems == ("istiod-1 has no IP address",)


async def test_only_istiod_is_asked_at_its_service_where_its_pod_cannot_be_reached(ask: Ask) -> None:
    found = await ask(pods(_ONE), {_ONE: _CUT, _SERVICE: LISTS_CART}, service=service(_SERVICE))

    assert found == ConnectedProxies({_CART: "1.30.2"}, planes={"default": "1.31.0"})


async def test_service_is_one_of_several_istiods_and_says_so(ask: Ask) -> None:
    found = await ask(pods(_ONE, _TWO), {_ONE: _CUT, _TWO: _CUT, _SERVICE: LISTS_CART}, service=service(_SERVICE))

    assert found.versions == {_CART: "1.30.2"}
    assert found.problems == ("Service istiod is only one of 2 istiods of revision default",)


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (_NO_SERVICE, "Service istiod is unknown: "),
        (Answer(status(403, "nobody cannot get"), 403), "Service istiod is unknown: A permission is missing: "),
        (service("None"), "Service istiod has no IP address"),
    ],
    ids=["gone", "denied", "headless"],
)
async def test_service_that_is_no_way_either_is_told_beside_the_pod(ask: Ask, place: Answer, problem: str) -> None:
    found = await ask(pods(_ONE), {_ONE: Answer(status=401)}, service=place)

    assert found.versions == {}
    assert len(found.problems) == 2
    assert found.problems[1].startswith(problem)


@pytest.mark.parametrize("plane", [Answer(status=404), Answer(b"unknown-unknown-unknown")], ids=["none", "unknown"])
async def test_istiod_whose_own_version_is_not_known_lists_its_proxies_all_the_same(ask: Ask, plane: Answer) -> None:
    found = await ask(pods(_ONE), {_ONE: LISTS_CART}, plane=plane)

    assert found == ConnectedProxies({_CART: "1.30.2"})


async def test_cluster_without_istiod_is_told(ask: Ask) -> None:
    assert await ask(pods(), {}) == ConnectedProxies(problems=("no istiod runs in istio-system",))


async def test_istiods_that_may_not_be_looked_for_are_told(ask: Ask) -> None:
    found = await ask(Answer(status(403, "nobody cannot list pods"), 403), {})

    assert found.problems == ("Pods of istiod cannot be read: A permission is missing: nobody cannot list pods.",)
