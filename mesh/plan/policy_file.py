"""The policy file: parsed and validated where a file enters, and turned into the values of `mesh.plan.policy`.

Every field is optional; an unknown one is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
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
from mesh.text import one_line

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
        raise ValueError(f"{one_line(text, _SHOWN)!r} must be canary, gateways, all or the number of a wave")
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
_DurationText = Annotated[str, Field(pattern=r"^(\d+[smhd])+$", examples=["15m", "1h30m"])]
_ShareText = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$", examples=["10%"])]
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
#: Characters of a wrong value that a refusal repeats.
_SHOWN = 60

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

_NO_DURATION = "{value} is not a duration. Write 30m, 2h30m or 3d"
#: Instead of what pydantic says in Python's terms, by the type of its error. Placeholders: the value, and what
#: pydantic tells of the limit.
_REASONS = {
    "extra_forbidden": "is not a field of the policy",
    "invalid_key": "is not a field of the policy",
    "missing": "is missing",
    "model_type": "must hold fields with values",
    "tuple_type": "must be a list",
    "string_type": "must be a text",
    "time_delta_parsing": _NO_DURATION,
    "time_delta_type": _NO_DURATION,
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a finite number",
    "float_parsing": "{value} is not a number or a share such as 10%",
    "float_type": "{value} is not a number or a share such as 10%",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "literal_error": "must be {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
}

#: Windows that are never open together are so at any time; a policy is read without a clock.
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def _duration_text(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    size, unit = next(
        (size, unit) for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")) if not seconds % size
    )
    return f"{seconds // size}{unit}"


def _describe_as_in_the_file(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Leaves out Python's names, and writes defaults as the file does."""
    schema.pop("title", None)
    for name, field in model.model_fields.items():
        part = schema["properties"][field.alias or name]
        part.pop("title", None)
        if isinstance(field.default, timedelta):
            part["default"] = _duration_text(field.default)
        elif isinstance(field.default, BaseModel) or ("minItems" in part and not field.default):
            # The fields of a section have their defaults; an empty list would be refused.
            part.pop("default", None)


class _Section(BaseModel):
    """Fields of the file go by their camelCase names."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        json_schema_extra=_describe_as_in_the_file,
    )


class WavesSection(_Section):
    """The canary's share, the growing steps of the rest, and the most workloads in one wave."""

    canary: Share = _DEFAULTS.waves.canary
    """The share of the workloads that are restarted first, at least one; 0% for no canary."""
    steps: Annotated[tuple[Share, ...], Field(max_length=100)] = _DEFAULTS.waves.steps
    """The rest of the workloads, in growing shares; the last is 100%."""
    max_workloads: Annotated[int, Field(ge=1, le=200, alias="maxWorkloads")] = _DEFAULTS.waves.max_workloads
    """The most workloads in one wave; a larger step is cut into waves, which overlap."""

    @field_validator("steps")
    @classmethod
    def _grows_to_all(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or steps[0] == 0 or list(steps) != sorted(set(steps)) or steps[-1] != 1:
            raise ValueError("must grow from more than 0% to 100%")
        return steps


class InFlightSection(_Section):
    """How many workloads may be rolling at once, in the cluster and in one namespace."""

    cluster: Annotated[int, Field(ge=1, le=200)] = _DEFAULTS.in_flight.cluster
    """The most workloads in flight in the cluster."""
    namespace: Annotated[int, Field(ge=1, le=200)] = _DEFAULTS.in_flight.namespace
    """The most workloads in flight in one namespace."""


class BudgetSection(_Section):
    """More failures than this pause the upgrade: the share of restarted workloads, but never fewer than `atLeast`."""

    failed: Share = _DEFAULTS.budget.failed
    """The share of the restarted workloads that may fail."""
    at_least: Annotated[int, Field(ge=0, alias="atLeast")] = _DEFAULTS.budget.at_least
    """Failed restarts that are always allowed, however small the share is."""


class NoProgressSection(_Section):
    """Times without any progress, not total times."""

    rollout: _SomeTime = _DEFAULTS.no_progress.rollout
    """How long a rollout may make no progress until the restart counts as failed."""
    control_plane: Annotated[_SomeTime, Field(alias="controlPlane")] = _DEFAULTS.no_progress.control_plane
    """How long the upgrade of the control plane may make no progress until the upgrade pauses."""


class ExcludeSection(_Section):
    """Namespaces that are reported and left alone."""

    namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=500, json_schema_extra={"minItems": 1})] = ()
    """Names of the namespaces, at least one. To exclude none, leave `exclude` out."""


class PrometheusSection(_Section):
    """Before each step, every value of the query must be below the limit."""

    address: Annotated[str, AfterValidator(_address)]
    """The address of Prometheus, without user and password: http://prometheus.monitoring:9090."""
    query: Annotated[str, Field(pattern=r"\S", max_length=4000)]
    """The query in PromQL. A query without a value closes the gate."""
    below: Annotated[float, Field(allow_inf_nan=False)]
    """The limit that every value of the query must be below."""


class GatesSection(_Section):
    """Checks before each step beside those of the cluster itself."""

    prometheus: PrometheusSection | None = None
    """A query to Prometheus whose values must be below a limit."""


class PolicyFile(_Section):
    """The policy of an upgrade: order, pace, hours and limits. Every field is optional."""

    waves: WavesSection = WavesSection()
    """Which workloads are restarted first, and in which shares the rest follows."""
    in_flight: InFlightSection = Field(default=InFlightSection(), alias="inFlight")
    """How many workloads may be restarted at once."""
    budget: BudgetSection = BudgetSection()
    """How many restarts may fail until the upgrade pauses."""
    soak: Duration = _DEFAULTS.soak
    """How long the upgrade waits between two steps."""
    approve: Annotated[tuple[WaveName, ...], Field(max_length=100)] = _DEFAULTS.approve
    """Steps that wait for an operator: canary, gateways, all, or the number of a numbered wave."""
    windows: Annotated[tuple[WindowText, ...], Field(max_length=20)] = _DEFAULTS.windows
    """Restarts begin only while all these maintenance windows are open. Alternatives are one text, separated by ;."""
    no_progress: NoProgressSection = Field(default=NoProgressSection(), alias="noProgress")
    """How long a rollout or the control plane may make no progress."""
    missing: Literal["report", "restart"] = _DEFAULTS.missing
    """Pods without a sidecar that would get one: report them, or restart their workloads."""
    remediation: Literal["handoff", "wait"] = _DEFAULTS.remediation
    """At the end: hand the open items off to the queue, or wait for it to become empty."""
    remediation_timeout: _SomeTime = Field(default=_DEFAULTS.remediation_timeout, alias="remediationTimeout")
    """How long `remediation: wait` waits."""
    restarts: Literal["ours", "module"] = _DEFAULTS.restarts
    """Who restarts: the upgrade (ours), or Kyma's module, while the upgrade verifies and does the rest."""
    exclude: ExcludeSection = ExcludeSection()
    """What is reported and never restarted."""
    gates: GatesSection = GatesSection()
    """What else must hold before a step begins."""

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
        place = f"line {where.line + 1}" if where else "the file"
        raise RefusedError(f"Policy {source}: {place} is not valid YAML.", _REMEDY) from error
    try:
        file = PolicyFile.model_validate(fields)
    except ValidationError as error:
        raise _refused(source, *_place_and_reason(error.errors()[0])) from error
    if "exclude" in file.model_fields_set and not file.exclude.namespaces:
        raise _refused(source, "exclude.namespaces", "selects nothing; name a namespace, or leave it out")
    return file.policy()


def _place_and_reason(error: ErrorDetails) -> tuple[str, str]:
    """Returns the field, and why its value is refused."""
    place = ""
    for part in error["loc"]:
        if isinstance(part, int) and error["type"] != "invalid_key":
            place += f", entry {part + 1}"
        else:
            place += f".{part}" if place else str(part)
    value = error["input"] if isinstance(error["input"], str) else str(error["input"])
    known = {**error.get("ctx", {}), "value": repr(one_line(value, _SHOWN))}
    if error["type"] == "string_pattern_mismatch":
        form = "{value} is not a namespace name" if "namespaces" in error["loc"] else "must not be empty"
    elif error["type"] == "greater_than_equal" and known["ge"] == "0 seconds":
        form = "must be at least 0s"
    elif error["type"] in ("float_parsing", "float_type") and "below" in error["loc"]:
        form = "{value} is not a number"
    else:
        form = _REASONS.get(error["type"], "")
    return place, form.format_map(known) if form else error["msg"].removeprefix("Value error, ")


def _refused(source: str, field: str, reason: str) -> RefusedError:
    return RefusedError(
        f"Policy {source}: {field}: {reason}." if field else f"Policy {source}: the file {reason}.", _REMEDY
    )


_REMEDY = "Correct the file and start again."
