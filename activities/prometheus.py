"""Asks Prometheus before each step of waves whether a metric is below its limit.

Source of the answer's format: prometheus.io/docs/prometheus/latest/querying/api, instant queries.
"""

from __future__ import annotations

import aiohttp
import msgspec

from mesh.plan.policy import PrometheusGate
from mesh.text import one_line

_TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)

#: HTTP codes from here on are errors.
_FIRST_ERROR_CODE = 400


class _Sample(msgspec.Struct, frozen=True):
    """One element of a vector: a time, and a value as text."""

    value: tuple[float, str]


class _Data(msgspec.Struct, frozen=True, rename={"kind": "resultType"}):
    kind: str = ""
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct, frozen=True):
    status: str = ""
    error: str = ""
    data: _Data = _Data()


async def check_prometheus(gate: PrometheusGate) -> str | None:
    """Returns why the gate is closed, None when all values of the query are below its limit.

    A query without any value closes the gate, too.
    """
    address = f"{gate.address.rstrip('/')}/api/v1/query"
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(address, params={"query": gate.query}) as response,
        ):
            content = await response.read()
        values = _values(_answer(content, response.status))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"Prometheus at {gate.address} does not answer: {_reason(error)}"
    except (msgspec.DecodeError, ValueError) as error:
        return f"the answer of Prometheus cannot be read: {one_line(str(error))}"
    if not values:
        return f"Prometheus has no value for {one_line(gate.query)}"
    # NaN is below nothing.
    worst = max(values, key=lambda value: (not value < gate.below, value))
    return None if worst < gate.below else f"{one_line(gate.query)} is {worst:g}, not below {gate.below:g}"


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    return one_line(str(error)) or ("timeout" if isinstance(error, TimeoutError) else type(error).__name__)


def _answer(content: bytes, code: int) -> _Answer:
    """Decodes an answer. Errors have the same format, unless a proxy on the way makes them."""
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except msgspec.DecodeError:
        if code < _FIRST_ERROR_CODE:
            raise
        answer = _Answer()
    if code >= _FIRST_ERROR_CODE:
        raise ValueError(answer.error or f"HTTP {code}")
    return answer


def _values(answer: _Answer) -> list[float]:
    if answer.status != "success":
        raise ValueError(answer.error or f"its status is {answer.status!r}")
    match answer.data.kind:
        case "vector":
            samples = msgspec.json.decode(answer.data.result, type=tuple[_Sample, ...])
            return [float(sample.value[1]) for sample in samples]
        case "scalar":
            return [float(msgspec.json.decode(answer.data.result, type=tuple[float, str])[1])]
        case kind:
            raise ValueError(f"it is a {kind}, not a vector or scalar")
