"""The policy of one upgrade: order, pace, hours and limits. Every field is optional; unknown ones are refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from mesh.errors import RefusedError
from mesh.maintenance_windows import EXAMPLE, never_together, parse_windows

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """`90s`, `15m`, `1h30m` as a timedelta; anything else is left for pydantic to judge."""
    if isinstance(value, str) and re.fullmatch(r"(\d+[smhd])+", value):
        return timedelta(seconds=sum(int(n) * _UNITS[u] for n, u in re.findall(r"(\d+)([smhd])", value)))
    return value


def _share(value: object) -> object:
    """`10%` as 0.1."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value) if isinstance(value, str) else None
    if match and float(match[1]) > 100:
        raise ValueError(f"{value} is more than 100%")
    return float(match[1]) / 100 if match else value


def _passes(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be longer than 0s")
    return duration


def _wave_name(value: object) -> object:
    """A wave that can be waited for, as text; a numbered one may be written as a number."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or text in ("canary", "gateways", "all"):
        return text
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is none of canary, gateways, all, or the number of a numbered wave")
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"has more than {_LONGEST_NUMBER} digits")
    return str(int(text))


def _window(text: str) -> str:
    parse_windows(text)
    return text


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as http://prometheus.monitoring:9090")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must name no user and no password: a policy is kept in the upgrade's history")
    return text


# The schema tells an editor what is written in the file, not what it becomes.
_DurationText = Annotated[str, Field(pattern=r"^(\d+[smhd])+$")]
_ShareText = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]
Duration = Annotated[
    timedelta, Field(ge=timedelta(0)), BeforeValidator(parse_duration, json_schema_input_type=_DurationText)
]
Share = Annotated[
    float,
    Field(ge=0, le=1),
    BeforeValidator(_share, json_schema_input_type=_ShareText | Annotated[float, Field(ge=0, le=1)]),
]
#: Digits of a wave's number: a label has as many characters.
_LONGEST_NUMBER = 63

_SomeTime = Annotated[Duration, AfterValidator(_passes)]
WaveName = Annotated[
    str,
    BeforeValidator(
        _wave_name,
        json_schema_input_type=Literal["canary", "gateways", "all"]
        | Annotated[int, Field(ge=0)]
        | Annotated[str, Field(pattern=r"^[0-9]+$")],
    ),
]
WindowText = Annotated[str, AfterValidator(_window), Field(max_length=500, examples=[EXAMPLE])]
NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]

#: What pydantic says in Python's words, by the type of its error.
_REASONS = {
    "extra_forbidden": "is no field of a policy",
    "model_type": "must be fields with values",
    "tuple_type": "must be a list",
}

#: Windows that are never open together are so at any time; a policy is read without a clock.
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class _Part(BaseModel):
    """Common settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Waves(_Part):
    """The canary's share, the growing steps of the rest, and the most workloads in one wave."""

    canary: Share = 0.01
    steps: Annotated[tuple[Share, ...], Field(max_length=100)] = (0.1, 0.3, 1.0)
    max_workloads: Annotated[int, Field(ge=1, le=200, alias="maxWorkloads")] = 200

    @field_validator("steps")
    @classmethod
    def _grows_to_all(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or steps[0] == 0 or list(steps) != sorted(set(steps)) or steps[-1] != 1:
            raise ValueError("must grow from more than 0% to 100%")
        return steps


class InFlight(_Part):
    """How many workloads may be rolling at once, in the cluster and in one namespace."""

    cluster: Annotated[int, Field(ge=1, le=200)] = 50
    namespace: Annotated[int, Field(ge=1, le=200)] = 5


class Budget(_Part):
    """More failures than this pause the upgrade: the share of restarted workloads, but never fewer than `atLeast`."""

    failed: Share = 0.02
    at_least: Annotated[int, Field(ge=0, alias="atLeast")] = 3


class NoProgress(_Part):
    """Times without any progress, not in all."""

    rollout: _SomeTime = timedelta(minutes=15)
    control_plane: _SomeTime = Field(default=timedelta(minutes=30), alias="controlPlane")


class Exclude(_Part):
    """Namespaces that are reported and left alone."""

    namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=500, json_schema_extra={"minItems": 1})] = ()


class PrometheusGate(_Part):
    """Before each wave the query's only value must be below the limit."""

    address: Annotated[str, AfterValidator(_address)]
    query: Annotated[str, Field(pattern=r"\S", max_length=4000)]
    below: Annotated[float, Field(allow_inf_nan=False)]


class Gates(_Part):
    """Questions to others before each wave, beside those to the cluster."""

    prometheus: PrometheusGate | None = None


class Policy(_Part):
    """A policy file."""

    waves: Waves = Waves()
    in_flight: InFlight = Field(default=InFlight(), alias="inFlight")
    budget: Budget = Budget()
    soak: Duration = timedelta(minutes=5)
    approve: Annotated[tuple[WaveName, ...], Field(max_length=100)] = ()
    """Waves that wait for an operator; the number is a numbered wave's."""
    windows: Annotated[tuple[WindowText, ...], Field(max_length=20)] = ()
    """Workloads are restarted only while all are open; as they were written (see mesh.maintenance_windows)."""
    no_progress: NoProgress = Field(default=NoProgress(), alias="noProgress")
    missing: Literal["report", "restart"] = "report"
    remediation: Literal["handoff", "wait"] = "handoff"
    remediation_timeout: _SomeTime = Field(default=timedelta(days=3), alias="remediationTimeout")
    """How long `remediation: wait` waits for the queue to become empty."""
    restarts: Literal["ours", "module"] = "ours"
    exclude: Exclude = Exclude()
    gates: Gates = Gates()

    @field_validator("windows")
    @classmethod
    def _open_together(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        if parse_windows(*windows).next_open(_ANY_TIME) is None:
            raise ValueError(f"{never_together(windows)}; alternatives are one text, separated by ;")
        return windows


def load_policy(text: str, source: str) -> Policy:
    """Reads a policy file; RefusedError names the field and what is wrong with it."""
    try:
        fields = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: what looks like a date and is none.
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise RefusedError(f"Policy {source}{line} is not YAML.", "Mend it and start again.") from error
    try:
        policy = Policy.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        reason = _REASONS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise _refused(source, field, reason) from error
    if "exclude" in policy.model_fields_set and not policy.exclude.namespaces:
        # Only of a file: in the JSON of a running upgrade every field is written out.
        raise _refused(source, "exclude.namespaces", "selects nothing; name a namespace, or leave it out")
    return policy


def _refused(source: str, field: str, reason: str) -> RefusedError:
    return RefusedError(f"Policy {source}: {field}: {reason}.", "Mend it and start again.")
