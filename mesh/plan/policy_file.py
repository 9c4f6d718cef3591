"""The policy file: parsed and validated where a file enters, and turned into the values of `mesh.plan.policy`.

Every field is optional; an unknown one is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from mesh.durations import parse_duration
from mesh.errors import RefusedError
from mesh.maintenance_windows import EXAMPLE, never_together, parse_windows
from mesh.plan.policy import Policy

_DEFAULTS = Policy()


def _duration(value: object) -> object:
    """`1h30m` as a timedelta; anything else is left for pydantic to refuse."""
    duration = parse_duration(value) if isinstance(value, str) else None
    return value if duration is None else duration


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


# The schema describes to an editor what the file contains, not what it becomes.
_DurationText = Annotated[str, Field(pattern=r"^(\d+[smhd])+$")]
_ShareText = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]
Duration = Annotated[
    timedelta, Field(ge=timedelta(0)), BeforeValidator(_duration, json_schema_input_type=_DurationText)
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

#: Instead of what pydantic says in Python's terms, by the type of its error.
_REASONS = {
    "extra_forbidden": "is no field of a policy",
    "model_type": "must be fields with values",
    "tuple_type": "must be a list",
}

#: Windows that are never open together are so at any time; a policy is read without a clock.
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class _Section(BaseModel):
    """Fields of the file go by their camelCase names."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class WavesSection(_Section):
    """The canary's share, the growing steps of the rest, and the most workloads in one wave."""

    canary: Share = _DEFAULTS.waves.canary
    steps: Annotated[tuple[Share, ...], Field(max_length=100)] = _DEFAULTS.waves.steps
    max_workloads: Annotated[int, Field(ge=1, le=200, alias="maxWorkloads")] = _DEFAULTS.waves.max_workloads

    @field_validator("steps")
    @classmethod
    def _grows_to_all(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or steps[0] == 0 or list(steps) != sorted(set(steps)) or steps[-1] != 1:
            raise ValueError("must grow from more than 0% to 100%")
        return steps


class InFlightSection(_Section):
    """How many workloads may be rolling at once, in the cluster and in one namespace."""

    cluster: Annotated[int, Field(ge=1, le=200)] = _DEFAULTS.in_flight.cluster
    namespace: Annotated[int, Field(ge=1, le=200)] = _DEFAULTS.in_flight.namespace


class BudgetSection(_Section):
    """More failures than this pause the upgrade: the share of restarted workloads, but never fewer than `atLeast`."""

    failed: Share = _DEFAULTS.budget.failed
    at_least: Annotated[int, Field(ge=0, alias="atLeast")] = _DEFAULTS.budget.at_least


class NoProgressSection(_Section):
    """Times without any progress, not total times."""

    rollout: _SomeTime = _DEFAULTS.no_progress.rollout
    control_plane: Annotated[_SomeTime, Field(alias="controlPlane")] = _DEFAULTS.no_progress.control_plane


class ExcludeSection(_Section):
    """Namespaces that are reported and left alone."""

    namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=500, json_schema_extra={"minItems": 1})] = ()


class PrometheusSection(_Section):
    """Before each wave the query's only value must be below the limit."""

    address: Annotated[str, AfterValidator(_address)]
    query: Annotated[str, Field(pattern=r"\S", max_length=4000)]
    below: Annotated[float, Field(allow_inf_nan=False)]


class GatesSection(_Section):
    """Checks before each wave beside those of the cluster itself."""

    prometheus: PrometheusSection | None = None


class PolicyFile(_Section):
    """The policy file of an upgrade; `mesh.plan.policy.Policy` explains its fields."""

    waves: WavesSection = WavesSection()
    in_flight: InFlightSection = Field(default=InFlightSection(), alias="inFlight")
    budget: BudgetSection = BudgetSection()
    soak: Duration = _DEFAULTS.soak
    approve: Annotated[tuple[WaveName, ...], Field(max_length=100)] = _DEFAULTS.approve
    windows: Annotated[tuple[WindowText, ...], Field(max_length=20)] = _DEFAULTS.windows
    no_progress: NoProgressSection = Field(default=NoProgressSection(), alias="noProgress")
    missing: Literal["report", "restart"] = _DEFAULTS.missing
    remediation: Literal["handoff", "wait"] = _DEFAULTS.remediation
    remediation_timeout: _SomeTime = Field(default=_DEFAULTS.remediation_timeout, alias="remediationTimeout")
    restarts: Literal["ours", "module"] = _DEFAULTS.restarts
    exclude: ExcludeSection = ExcludeSection()
    gates: GatesSection = GatesSection()

    @field_validator("windows")
    @classmethod
    def _open_together(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        if parse_windows(*windows).next_open(_ANY_TIME) is None:
            raise ValueError(f"{never_together(windows)}; alternatives are one text, separated by ;")
        return windows

    def policy(self) -> Policy:
        """Returns the values that the file states, with defaults for all others."""
        return TypeAdapter(Policy).validate_python(self.model_dump())


def parse_policy_file(text: str, source: str) -> Policy:
    """Returns the policy that a file states; `source` is the name of the file.

    Raises:
        RefusedError: names the field and what is wrong with it.
    """
    try:
        fields = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a text that looks like a date and is none.
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise RefusedError(f"Policy {source}{line} is not YAML.", _REMEDY) from error
    try:
        file = PolicyFile.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        reason = _REASONS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise _refused(source, field, reason) from error
    if "exclude" in file.model_fields_set and not file.exclude.namespaces:
        raise _refused(source, "exclude.namespaces", "selects nothing; name a namespace, or leave it out")
    return file.policy()


def _refused(source: str, field: str, reason: str) -> RefusedError:
    return RefusedError(f"Policy {source}: {field}: {reason}.", _REMEDY)


_REMEDY = "Correct the file and start again."
