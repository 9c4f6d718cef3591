"""Settings of one process: flags, else the environment, else the profile file, else defaults.

A profile file `.kyma-upgrade.toml` in the current directory or a parent of it names a cluster and a Temporal server
together. What a flag or the environment names in its place takes what belongs to it along: another kubeconfig means
another context, another Temporal address means another namespace and another UI.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.errors import RefusedError

PROFILE = ".kyma-upgrade.toml"
_PREFIX = "KYMA_UPGRADE_"
_CLUSTER_FIELDS = ("kubeconfig", "context", "cluster")
_TEMPORAL_FIELDS = ("address", "namespace", "ui")
#: Any of these says which Temporal is meant, so a profile file does not.
_TEMPORAL_VARIABLES = ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")


class ClusterSettings(BaseModel):
    """Which cluster, and how to reach it."""

    model_config = ConfigDict(frozen=True)

    cluster: str | None = None
    """Name of the cluster in workflow ids. None: the context's name; a worker in a Pod has no context and needs it."""
    context: str | None = None
    """Context of the kubeconfig. None: its current one."""
    kubeconfig: str | None = None
    """File with the credentials. None: `KUBECONFIG`, the home directory, or the Pod's own service account."""


class TemporalSettings(BaseModel):
    """Which Temporal. Everything else (TLS, API keys) is read from `TEMPORAL_*` and its profiles, as its CLI does."""

    model_config = ConfigDict(frozen=True)

    address: str | None = None
    """host:port. None: `TEMPORAL_ADDRESS`, Temporal's profile, or localhost:7233."""
    namespace: str | None = None
    """Temporal namespace. None: `TEMPORAL_NAMESPACE`, Temporal's profile, or `default`."""
    ui: str | None = None
    """Address of the Temporal UI, for links. None: no links are printed."""
    connect_timeout: float = 5.0
    """Seconds until a Temporal that does not answer counts as not running: a pipeline should know soon."""


class WorkerSettings(BaseModel):
    """How a worker works."""

    model_config = ConfigDict(frozen=True)

    concurrency: Annotated[int, Field(ge=10)] = 300
    """Activities at once. A wave has up to 200 restarts that mostly wait, and the watch and surveys run beside them."""
    grace: Annotated[float, Field(ge=0)] = 10.0
    """Seconds that activities get to end by themselves after SIGTERM; the rest is taken over by the next worker."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text on a terminal, JSON lines elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line that is logged."""


class Settings(BaseModel):
    """All settings; read once per process."""

    model_config = ConfigDict(frozen=True)

    cluster: ClusterSettings = ClusterSettings()
    temporal: TemporalSettings = TemporalSettings()
    worker: WorkerSettings = WorkerSettings()
    profile: Path | None = None
    """The profile file that was found, None without one."""


class _Environment(BaseSettings):
    """`KYMA_UPGRADE_*`. None where a variable is not set; checked where it is used."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    cluster: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    address: str | None = None
    namespace: str | None = None
    ui: str | None = None
    connect_timeout: str | None = None
    concurrency: str | None = None
    grace: str | None = None
    log_format: str | None = None
    log_level: str | None = None


def load_settings(flags: dict[str, Any] | None = None, directory: Path | None = None) -> Settings:
    """Settings by precedence. `flags` that are None were not given; RefusedError names what cannot be used."""
    given = {key: value for key, value in _Environment().model_dump().items() if value is not None}
    given |= {key: value for key, value in (flags or {}).items() if value is not None}
    file = find_profile(directory or Path.cwd())
    profile = _read_profile(file) if file else {}
    try:
        return Settings(
            cluster=ClusterSettings(**_cluster_part(given, profile)),
            temporal=TemporalSettings(**_temporal_part(given, profile)),
            worker=WorkerSettings.model_validate(given),
            profile=file,
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise RefusedError(
            f"Setting {name} cannot be used: {first['msg']}.", f"Check --{name.replace('_', '-')} and {_PREFIX}*."
        ) from error


def find_profile(directory: Path) -> Path | None:
    """The profile file of this directory or of the nearest parent that has one."""
    for place in (directory, *directory.parents):
        if (place / PROFILE).is_file():
            return place / PROFILE
    return None


def _read_profile(file: Path) -> dict[str, Any]:
    try:
        profile = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RefusedError(f"The profile file {file} cannot be read: {error}.", "Mend or remove it.") from error
    if "kubeconfig" in profile:
        profile["kubeconfig"] = str(file.parent / Path(str(profile["kubeconfig"])).expanduser())
    return profile


def _cluster_part(given: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    named = given.get("kubeconfig") or os.environ.get("KUBECONFIG")
    known = {key: profile[key] for key in _CLUSTER_FIELDS if key in profile}
    if named is not None and not _same_file(named, known.get("kubeconfig")):
        known = {}
    elif "context" in given and given["context"] != known.get("context"):
        known.pop("cluster", None)
    return known | {key: given[key] for key in _CLUSTER_FIELDS if key in given}


def _temporal_part(given: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    known = {key: profile[key] for key in _TEMPORAL_FIELDS if key in profile}
    address = given.get("address") or os.environ.get("TEMPORAL_ADDRESS")
    if (address or any(os.environ.get(one) for one in _TEMPORAL_VARIABLES)) and address != known.get("address"):
        known = {}
    if os.environ.get("TEMPORAL_NAMESPACE"):
        known.pop("namespace", None)
    own = {key: given[key] for key in (*_TEMPORAL_FIELDS, "connect_timeout") if key in given}
    return known | own


def _same_file(one: str, other: str | None) -> bool:
    return other is not None and Path(one).expanduser().resolve() == Path(other).resolve()
