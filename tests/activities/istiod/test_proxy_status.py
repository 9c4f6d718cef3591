"""Each istiod is asked for itself, and whatever one of them answers, the others count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest

from activities.istiod import proxy_status
from mesh.istio.proxy_status import ConnectedProxies
from tests.activities.api_server import Answer, Query, api_server, http_server, status

#: Where istiods and their Service are in these tests: all of it is this machine.
_SERVICE, _FIRST, _SECOND = "127.0.0.9", "127.0.0.11", "127.0.0.12"
_CART, _PAY = ("shop", "cart-1"), ("shop", "pay-1")
_VERSION = Answer(b"1.31.0-unknown-Clean")
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


class ReadProxies(Protocol):
    """Reads the connected proxies, given the list of istiod's Pods, the Service, and each address's answers."""

    async def __call__(
        self, istiods: Answer, answers: Mapping[str, Answer], *, service: Answer = ..., version: Answer = ...
    ) -> ConnectedProxies: ...


@pytest.fixture
def read_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadProxies:
    monkeypatch.setattr(proxy_status, "_MAX_BYTES", 2000)

    async def read(
        istiods: Answer,
        answers: Mapping[str, Answer],
        *,
        service: Answer = _NO_SERVICE,
        version: Answer = _VERSION,
    ) -> ConnectedProxies:
        def api(query: Query) -> Answer:
            return istiods if query.get("labelSelector") == "app=istiod" else service

        def istiod(target: str, _: Query) -> Answer:
            host, path = target.split("/", 1)
            return answers[host] if path == "debug/syncz" else version

        async with api_server(api, tmp_path) as cluster, http_server(istiod, "0.0.0.0") as port:  # noqa: S104  # one port
            monkeypatch.setattr(proxy_status, "MONITORING_PORT", port)
            return await proxy_status.read_connected_proxies(cluster)

    return read


async def test_each_istiod_is_asked_at_its_own_address(read_proxies: ReadProxies) -> None:
    found = await read_proxies(pods(_FIRST, _SECOND), {_FIRST: LISTS_CART, _SECOND: LISTS_PAY})

    assert found == ConnectedProxies({_CART: "1.30.2", _PAY: "1.31.0"}, istiod_versions={"default": "1.31.0"})


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(status=401), "istiod-1 shows its proxies only to identities that it knows (HTTP 401)"),
        (Answer(status=403), "istiod-1 shows its proxies only to identities that it knows (HTTP 403)"),
        (Answer(status=404), "istiod-1 does not list its proxies (HTTP 404)"),
        (
            Answer(status=302, headers={"Location": f"http://{_SECOND}/debug/syncz"}),
            "istiod-1 does not list its proxies (HTTP 302)",
        ),
        (Answer(b"<html>"), "the answer of istiod-1 cannot be read: "),
        (Answer(b"[" * 3000), "the answer of istiod-1 does not end"),
        (_CUT, "istiod-1 does not answer: "),
    ],
    ids=["unknown", "forbidden", "no-debugging", "elsewhere", "no-json", "endless", "cut"],
)
async def test_istiod_without_a_list_is_a_problem_and_the_others_count(
    read_proxies: ReadProxies, answer: Answer, problem: str
) -> None:
    found = await read_proxies(pods(_FIRST, _SECOND), {_FIRST: answer, _SECOND: LISTS_PAY})

    (first,) = found.problems
    assert first.startswith(problem)
    assert found.versions == {_PAY: "1.31.0"}


async def test_silent_istiod_is_given_up_soon(read_proxies: ReadProxies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_status, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))

    found = await read_proxies(pods(_FIRST, _SECOND), {_FIRST: Answer(silent=True), _SECOND: LISTS_PAY})

    assert found.problems == ("istiod-1 does not answer: TimeoutError",)
    assert found.versions == {_PAY: "1.31.0"}


async def test_istiod_without_an_address_is_a_problem(read_proxies: ReadProxies) -> None:
    found = await read_proxies(pods("", _SECOND), {_SECOND: LISTS_PAY})

    assert found.problems == ("istiod-1 has no IP address",)


async def test_service_is_asked_where_the_only_istiod_cannot_be_reached(read_proxies: ReadProxies) -> None:
    found = await read_proxies(pods(_FIRST), {_FIRST: _CUT, _SERVICE: LISTS_CART}, service=service(_SERVICE))

    assert found == ConnectedProxies({_CART: "1.30.2"}, istiod_versions={"default": "1.31.0"})


async def test_service_answers_for_one_of_several_istiods_only(read_proxies: ReadProxies) -> None:
    found = await read_proxies(
        pods(_FIRST, _SECOND), {_FIRST: _CUT, _SECOND: _CUT, _SERVICE: LISTS_CART}, service=service(_SERVICE)
    )

    assert found.versions == {_CART: "1.30.2"}
    assert found.problems == ("Service istiod is only one of 2 istiods of revision default",)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (_NO_SERVICE, "Service istiod is unknown: "),
        (Answer(status(403, "user u cannot get"), 403), "Service istiod is unknown: A permission is missing: "),
        (service("None"), "Service istiod has no IP address"),
    ],
    ids=["gone", "denied", "headless"],
)
async def test_unusable_service_is_a_second_problem(read_proxies: ReadProxies, target: Answer, problem: str) -> None:
    found = await read_proxies(pods(_FIRST), {_FIRST: Answer(status=401)}, service=target)

    assert found.versions == {}
    assert len(found.problems) == 2
    assert found.problems[1].startswith(problem)


@pytest.mark.parametrize("version", [Answer(status=404), Answer(b"unknown-unknown-unknown")], ids=["none", "unknown"])
async def test_istiod_of_unknown_version_still_lists_its_proxies(read_proxies: ReadProxies, version: Answer) -> None:
    found = await read_proxies(pods(_FIRST), {_FIRST: LISTS_CART}, version=version)

    assert found == ConnectedProxies({_CART: "1.30.2"})


async def test_cluster_without_istiod_is_a_problem(read_proxies: ReadProxies) -> None:
    assert await read_proxies(pods(), {}) == ConnectedProxies(problems=("no istiod runs in istio-system",))


async def test_missing_permission_to_list_istiods_is_a_problem(read_proxies: ReadProxies) -> None:
    found = await read_proxies(Answer(status(403, "user u cannot list pods"), 403), {})

    assert found.problems == ("Pods of istiod cannot be read: A permission is missing: user u cannot list pods.",)
