"""The policy of one upgrade: order, pace and limits. Every field is optional; unknown ones are refused."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from mesh.errors import RefusedError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """`90s`, `15m`, `1h30m` as a timedelta; anything else is left for pydantic to judge."""
    if isinstance(value, str) and re.fullmatch(r"(\d+[smhd])+", value):
        return timedelta(seconds=sum(int(n) * _UNITS[u] for n, u in re.findall(r"(\d+)([smhd])", value)))
    return value


def _share(value: object) -> object:
    """`10%` as 0.1."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value) if isinstance(value, str) else None
    return float(match[1]) / 100 if match else value


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
        if not steps or list(steps) != sorted(set(steps)) or steps[-1] != 1:
            raise ValueError("must grow and end with 100%")
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

    rollout: Duration = timedelta(minutes=15)
    control_plane: Duration = Field(default=timedelta(minutes=30), alias="controlPlane")


class Exclude(_Part):
    """Namespaces that are reported and left alone."""

    namespaces: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=1000)] = ()


class Policy(_Part):
    """A policy file."""

    waves: Waves = Waves()
    in_flight: InFlight = Field(default=InFlight(), alias="inFlight")
    budget: Budget = Budget()
    soak: Duration = timedelta(minutes=5)
    no_progress: NoProgress = Field(default=NoProgress(), alias="noProgress")
    missing: Literal["report", "restart"] = "report"
    restarts: Literal["ours", "module"] = "ours"
    exclude: Exclude = Exclude()


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
        return Policy.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RefusedError(f"Policy {source}: {field}: {first['msg']}.", "Mend it and start again.") from error
