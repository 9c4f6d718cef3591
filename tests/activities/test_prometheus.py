"""The gate asks Prometheus: only a plain value below the limit opens the gate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from activities.prometheus import check_prometheus
from mesh.plan.policy import PrometheusGate

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUERY = 'sum(rate(istio_requests_total{response_code=~"5.."}[5m]))'


@asynccontextmanager
async def prometheus(handler: Handler) -> AsyncIterator[str]:
    """Serves this handler over HTTP; yields the address."""
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answering(body: str, status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    return handler


def found(kind: str, result: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def vector(*values: str) -> str:
    samples = [{"metric": {"pod": str(n)}, "value": [1435781451.781, value]} for n, value in enumerate(values)]
    return found("vector", samples)


async def closed_because_of(handler: Handler, path: str = "") -> str | None:
    async with prometheus(handler) as address:
        return await check_prometheus(PrometheusGate(address=f"{address}{path}", query=QUERY, below=0.01))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(vector("0.002"), id="vector"),
        pytest.param(vector("0", "0.0099", "-Inf"), id="several"),
        pytest.param(found("scalar", [1435781451.781, "0.002"]), id="scalar"),
        pytest.param(found("scalar", [1435781451, "0"]), id="whole-seconds"),
    ],
)
async def test_values_below_the_limit_open_the_gate(body: str) -> None:
    assert await closed_because_of(answering(body)) is None


@pytest.mark.parametrize(
    ("body", "worst"),
    [
        pytest.param(vector("0.02"), "0.02", id="above"),
        pytest.param(vector("0.01"), "0.01", id="the-limit-itself"),
        pytest.param(vector("0.001", "0.5", "0.02"), "0.5", id="the-worst-of-several"),
        pytest.param(vector("+Inf"), "inf", id="infinite"),
        pytest.param(vector("NaN"), "nan", id="no-number"),
        pytest.param(vector("0.001", "NaN"), "nan", id="no-number-after-a-good-one"),
        pytest.param(vector("NaN", "0.001"), "nan", id="no-number-before-a-good-one"),
        pytest.param(found("scalar", [1435781451.781, "1"]), "1", id="scalar"),
    ],
)
async def test_value_that_is_not_below_the_limit_closes_the_gate(body: str, worst: str) -> None:
    assert await closed_because_of(answering(body)) == f"{QUERY} is {worst}, not below 0.01"


@pytest.mark.parametrize(
    ("handler", "closed_because"),
    [
        pytest.param(answering(vector()), f"Prometheus has no value for {QUERY}", id="empty"),
        pytest.param(
            answering(json.dumps({"status": "error", "errorType": "bad_data", "error": "parse error"}), 400),
            "the answer of Prometheus cannot be read: parse error",
            id="error",
        ),
        pytest.param(
            answering(json.dumps({})), "the answer of Prometheus cannot be read: its status is ''", id="nothing"
        ),
        pytest.param(
            answering(found("matrix", [])),
            "the answer of Prometheus cannot be read: it is a matrix, not a vector or scalar",
            id="matrix",
        ),
    ],
)
async def test_answer_without_a_value_closes_the_gate(handler: Handler, closed_because: str) -> None:
    assert await closed_because_of(handler) == closed_because


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(answering("<html>Bad gateway</html>"), id="html"),
        pytest.param(answering(vector("0.002")[:-5]), id="cut-short"),
        pytest.param(answering("[]"), id="of-another-form"),
        pytest.param(answering(vector("many")), id="text-for-a-number"),
        pytest.param(answering(found("vector", [{"metric": {}, "histogram": [1, {"count": "1"}]}])), id="histogram"),
        pytest.param(answering(found("scalar", [[1, "0"]])), id="scalar-of-a-vector"),
    ],
)
async def test_garbage_closes_the_gate(handler: Handler) -> None:
    closed_because = await closed_because_of(handler)

    assert closed_because is not None
    assert closed_because.startswith("the answer of Prometheus cannot be read: ")


@pytest.mark.parametrize("body", [pytest.param("", id="empty"), pytest.param(vector("0.002"), id="with-a-good-value")])
async def test_server_error_closes_the_gate_whatever_it_says(body: str) -> None:
    closed_because = await closed_because_of(answering(body, 500))

    assert closed_because is not None
    assert "500" in closed_because


async def test_no_answer_closes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    assert " does not answer: " in str(await closed_because_of(cut))

    async with prometheus(answering(vector("0"))) as address:
        pass
    gone = PrometheusGate(address=address, query=QUERY, below=1)
    assert await check_prometheus(gone) == f"Prometheus at {address} does not answer: connection refused"


async def test_answer_that_never_comes_closes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.prometheus._TIMEOUT", aiohttp.ClientTimeout(total=0.05))

    async def silence(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await request.content.wait_eof()
        await response.write(b"{")
        # Ends when the client has left.
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    assert str(await closed_because_of(silence)).endswith(" does not answer: timeout")


@pytest.mark.parametrize(
    ("path", "target"),
    [("", "/api/v1/query"), ("/", "/api/v1/query"), ("/tenant/one/", "/tenant/one/api/v1/query")],
)
async def test_query_is_sent_to_the_address_and_whole(path: str, target: str) -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.path, request.query["query"]))
        return web.Response(text=vector("0"))

    assert await closed_because_of(handler, path) is None
    assert seen == [(target, QUERY)]
