"""Settings of one process: flags, else the environment, else the profile file, else defaults.

A profile file `.kyma-upgrade.toml` in the current directory or one of its parents names a cluster and a Temporal server
together. A flag or a variable that names another one also drops what the profile says about the old one: another
kubeconfig has other contexts, another Temporal server has other namespaces and another UI.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mesh.errors import RefusedError

PROFILE = ".kyma-upgrade.toml"
_PREFIX = "KYMA_UPGRADE_"
#: Any of these names a Temporal server, so the one of the profile file does not count.
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
    """Which Temporal server. TLS and API keys are read from `TEMPORAL_*` and Temporal's profiles, as its CLI does."""

    model_config = ConfigDict(frozen=True)

    address: str | None = None
    """host:port. None: `TEMPORAL_ADDRESS`, Temporal's profile, or localhost:7233."""
    namespace: str | None = None
    """Temporal namespace. None: `TEMPORAL_NAMESPACE`, Temporal's profile, or `default`."""
    ui: str | None = None
    """Address of the Temporal UI, for links. None: no links are printed."""
    connect_timeout: float = 5.0
    """Seconds until a server that does not answer counts as not running: a pipeline should fail early."""


class WorkerSettings(BaseModel):
    """How a worker runs."""

    model_config = ConfigDict(frozen=True)

    concurrency: Annotated[int, Field(ge=10)] = 300
    """Activities at once. A wave has up to 200 restarts that mostly wait, and the watch and surveys run beside them."""
    grace: Annotated[float, Field(ge=0)] = 10.0
    """Seconds that activities may take to end after SIGTERM; the next worker takes over what is left."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text on a terminal, JSON lines elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe event that is logged."""


class Settings(BaseModel):
    """All settings; read once per process."""

    model_config = ConfigDict(frozen=True)

    cluster: ClusterSettings = ClusterSettings()
    temporal: TemporalSettings = TemporalSettings()
    worker: WorkerSettings = WorkerSettings()
    profile: Path | None = None
    """The profile file that was found, None without one."""


class _Sources(BaseSettings, ClusterSettings, TemporalSettings, WorkerSettings):
    """Every setting under its own name, collected from flags, environment and profile file."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid")

    profile: Path | None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns the sources, the strongest first."""
        return init_settings, env_settings, _ProfileSource(settings_cls)


class _ProfileSource(PydanticBaseSettingsSource):
    """The profile file, without the values that a stronger source makes meaningless."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the file is read as a whole."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        given = self.current_state
        profile = _read_profile(given["profile"]) if given["profile"] else {}
        return _cluster_part(given, profile) | _temporal_part(given, profile)


def load_settings(flags: dict[str, Any] | None = None, directory: Path | None = None) -> Settings:
    """Returns the settings by precedence; `flags` that are None were not given.

    Raises:
        RefusedError: a value or the profile file is not valid.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        values = _Sources(profile=find_profile(directory or Path.cwd()), **given).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        source = _source_of(str(first["loc"][0]), given)
        if first["type"].startswith(("float_", "int_")):
            raise RefusedError(f"{source}: {first['input']!r} is not a number.", f"Correct {source}.") from error
        raise RefusedError(f"{source} is not valid: {first['msg']}.", f"Correct {source}.") from error
    return Settings(
        cluster=ClusterSettings.model_validate(values),
        temporal=TemporalSettings.model_validate(values),
        worker=WorkerSettings.model_validate(values),
        profile=values["profile"],
    )


def _source_of(name: str, flags: dict[str, Any]) -> str:
    """Returns what a value came from: the option, the variable, or the key of the profile file."""
    if name in flags:
        return f"--{name.replace('_', '-')}"
    variable = f"{_PREFIX}{name.upper()}"
    return variable if os.environ.get(variable) else f"{name} in {PROFILE}"


def find_profile(directory: Path) -> Path | None:
    """Returns the profile file of this directory or of the nearest parent that has one."""
    for place in (directory, *directory.parents):
        if (place / PROFILE).is_file():
            return place / PROFILE
    return None


def _read_profile(file: Path) -> dict[str, Any]:
    try:
        profile = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RefusedError(f"The profile file {file} cannot be read: {error}.", "Fix or remove it.") from error
    if "kubeconfig" in profile:
        profile["kubeconfig"] = str(file.parent / Path(str(profile["kubeconfig"])).expanduser())
    return profile


def _cluster_part(given: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    known = {name: profile[name] for name in ClusterSettings.model_fields if name in profile}
    kubeconfig = given.get("kubeconfig") or os.environ.get("KUBECONFIG")
    if kubeconfig is not None and not _same_file(kubeconfig, known.get("kubeconfig")):
        return {}
    if "context" in given and given["context"] != known.get("context"):
        known.pop("cluster", None)
    return known


def _temporal_part(given: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    known = {name: profile[name] for name in TemporalSettings.model_fields if name in profile}
    address = given.get("address") or os.environ.get("TEMPORAL_ADDRESS")
    if (address or any(map(os.environ.get, _TEMPORAL_VARIABLES))) and address != known.get("address"):
        return {}
    if os.environ.get("TEMPORAL_NAMESPACE"):
        known.pop("namespace", None)
    return known


def _same_file(file: str, other: str | None) -> bool:
    return other is not None and Path(file).expanduser().resolve() == Path(other).resolve()
