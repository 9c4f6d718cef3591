"""Loads a connection's address and credentials: from a kubeconfig, or from the service account of a Pod."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

from activities.kube.kubeconfig import NOT_A_KUBECONFIG, current_context, disables_compression, unusable_kubeconfig
from mesh.errors import RefusedError

#: Connections at the same time. A wave of restarts and the watches beside it share them: an encrypted connection has
#: a quarter megabyte of buffers, and the API server orders the writes of two hundred restarts anyway.
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Which kubeconfig and which of its contexts; both are None in a Pod."""

    kubeconfig: str | None
    context: str | None

    def with_current_context(self) -> CredentialSource:
        """The same source, fixed to the context that is current now: where it moves on, the connection stays."""
        return self if self.context is not None else replace(self, context=current_context(self.kubeconfig))

    @property
    def disables_compression(self) -> bool:
        """Whether answers come uncompressed: in a Pod, and where the kubeconfig says so.

        The API server compresses a stream on the one core that writes it: with a network that is fast enough that is
        what a reading waits for.
        """
        return self.context is None or disables_compression(self.kubeconfig, self.context)


async def load_configuration(source: CredentialSource) -> Configuration:
    """Loads the client's configuration, with a fresh token where an exec plugin or OIDC provides it.

    Without a kubeconfig the ordinary rules hold: `KUBECONFIG`, the home directory, the service account of a Pod.

    Raises:
        RefusedError: there is no usable kubeconfig, and this is no Pod.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    location = source.kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION
    try:
        await config.load_kube_config(
            config_file=source.kubeconfig, context=source.context, client_configuration=configuration
        )
    except NOT_A_KUBECONFIG as error:
        raise _unusable(location, "it is not a kubeconfig file") from error
    except (config.ConfigException, OSError) as error:
        if source.kubeconfig is None and source.context is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                pass
            else:
                return configuration
        if source.context is not None and "Expected object with name" in str(error):
            raise _unusable(location, f"it has no context {source.context}") from error
        raise _unusable(location, str(error)) from error
    return configuration


def proxy_for(address: str) -> str | None:
    """The environment's proxy for an address, as `https_proxy` and `no_proxy` say."""
    url = urlsplit(address)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _unusable(location: str, problem: str) -> RefusedError:
    exists = any(Path(file).expanduser().exists() for file in location.split(os.pathsep))
    return unusable_kubeconfig(location, problem if exists else "there is no such file")
