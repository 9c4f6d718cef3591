"""The connection to Temporal, configured by the variables and profiles that Temporal's CLI reads."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import PayloadLimitsConfig, RPCError

from mesh.errors import RefusedError, UnreachableError
from worker.data_converter import data_converter
from worker.settings import TemporalSettings

_DEFAULT_ADDRESS = "localhost:7233"
#: An item's memo, which the queue shows, has at most 8 kB (a test checks it); the core would warn above 2 kB.
_LIMITS = PayloadLimitsConfig(memo_warn_size=16 * 1024)


def quiet_runtime() -> Runtime:
    """Returns a runtime for commands, which print errors as sentences: its core logs nothing. One per process."""
    return _runtime(LoggingConfig(filter=TelemetryFilter(core_level="OFF", other_level="OFF")))


def logging_runtime() -> Runtime:
    """Returns a runtime for the worker: warnings of Temporal's core go to the worker's log. One per process."""
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    return _runtime(
        LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarding)
    )


def _runtime(logs: LoggingConfig) -> Runtime:
    return Runtime(telemetry=TelemetryConfig(logging=logs))


def connection(settings: TemporalSettings) -> dict[str, Any]:
    """Returns the arguments of `Client.connect`: Temporal's own configuration, overridden by our settings."""
    try:
        config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, ValueError, OSError) as error:
        raise RefusedError(
            f"Temporal's configuration cannot be read: {error}.", "Check TEMPORAL_* and Temporal's profiles."
        ) from error
    if settings.address is not None:
        config["target_host"] = settings.address
    if settings.namespace is not None:
        config["namespace"] = settings.namespace
    config.setdefault("target_host", _DEFAULT_ADDRESS)
    return config


async def connect_client(settings: TemporalSettings, runtime: Runtime | None = None) -> Client:
    """Connects to Temporal.

    Raises:
        RefusedError: the address is not valid.
        UnreachableError: nothing answers within `settings.connect_timeout`.
    """
    config = connection(settings)
    address = config["target_host"]
    try:
        async with asyncio.timeout(settings.connect_timeout):
            return await Client.connect(
                **config, data_converter=data_converter, payload_limits=_LIMITS, runtime=runtime
            )
    except ValueError as error:
        raise RefusedError(
            f"{address!r} is not an address of a Temporal server: {error}.", "Write host:port."
        ) from error
    except (RuntimeError, RPCError, TimeoutError, OSError) as error:
        raise UnreachableError(
            f"Temporal at {address} does not answer.",
            "Start it, or name another server with --address or TEMPORAL_ADDRESS.",
        ) from error
