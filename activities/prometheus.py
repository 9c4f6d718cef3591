"""A question to Prometheus before each wave.

Source of the answer's form: prometheus.io/docs/prometheus/latest/querying/api, instant queries.
"""

from __future__ import annotations

import aiohttp
import msgspec

from mesh.plan.policy import PrometheusGate
from mesh.text import one_line

_PATIENCE = aiohttp.ClientTimeout(total=20, sock_connect=5)

#: HTTP codes from here on are errors.
_ERRORS = 400


class _Sample(msgspec.Struct, frozen=True):
    """One element of a vector: time and value, the latter as text."""

    value: tuple[float, str]


class _Data(msgspec.Struct, frozen=True, rename={"kind": "resultType"}):
    kind: str = ""
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct, frozen=True):
    status: str = ""
    error: str = ""
    data: _Data = _Data()


async def check_prometheus(gate: PrometheusGate) -> str | None:
    """Why the gate is shut, None when the query's values are all below its limit. No value at all is shut as well."""
    address = f"{gate.address.rstrip('/')}/api/v1/query"
    try:
        async with (
            aiohttp.ClientSession(timeout=_PATIENCE) as session,
            session.get(address, params={"query": gate.query}) as response,
        ):
            content = await response.read()
        values = _values(_answer(content, response.status))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"Prometheus does not answer: {one_line(str(error)) or type(error).__name__}"
    except (msgspec.DecodeError, ValueError) as error:
        return f"the answer of Prometheus cannot be read: {one_line(str(error))}"
    if not values:
        return f"Prometheus has no value for {one_line(gate.query)}"
    # A value that is no number is not below anything.
    worst = max(values, key=lambda value: (not value < gate.below, value))
    return None if worst < gate.below else f"{one_line(gate.query)} is {worst:g}, not below {gate.below:g}"


def _answer(content: bytes, code: int) -> _Answer:
    """An error has the same form, unless it comes from something on the way."""
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except msgspec.DecodeError:
        if code < _ERRORS:
            raise
        answer = _Answer()
    if code >= _ERRORS:
        raise ValueError(answer.error or f"HTTP {code}")
    return answer


def _values(answer: _Answer) -> list[float]:
    if answer.status != "success":
        raise ValueError(answer.error or "no success")
    match answer.data.kind:
        case "vector":
            samples = msgspec.json.decode(answer.data.result, type=tuple[_Sample, ...])
            return [float(sample.value[1]) for sample in samples]
        case "scalar":
            return [float(msgspec.json.decode(answer.data.result, type=tuple[float, str])[1])]
        case kind:
            raise ValueError(f"a {kind} is no number")
