"""Reads how the cluster's injectors are configured: webhooks, ConfigMaps and ProxyConfigs of every revision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from activities.kube.client import ClusterClient
from activities.kube.paths import PROXY_CONFIGS, WEBHOOKS, path
from mesh.errors import NotFoundError, PermissionDeniedError
from mesh.istio.injection import Injector, injection_webhooks
from mesh.istio.injector_config import InjectorConfig, ProxyConfig, injector_config
from mesh.k8s.objects import ConfigMap, WebhookConfiguration
from mesh.wellknown import ISTIO_NAMESPACE

T = TypeVar("T")

_INJECTOR_MAP = "istio-sidecar-injector"
_MESH_MAP = "istio"


async def read_injector(cluster: ClusterClient) -> Injector:
    """Reads the configuration as it is now.

    Raises:
        PermissionDeniedError: a part of it cannot be read.
    """
    injector, problems = await read_permitted_injector(cluster)
    if problems:
        raise PermissionDeniedError(" ".join(problems), "Grant the permissions, see deploy/rbac.yaml.")
    return injector


async def read_permitted_injector(cluster: ClusterClient) -> tuple[Injector, list[str]]:
    """Reads what the permissions allow, with a sentence for each part that is missing.

    Without its webhooks nothing is certain, without the rest only some things.
    """
    problems: list[str] = []

    async def read(name: str, collection: str, kind: type[T]) -> list[T] | None:
        try:
            return (await cluster.list_all(collection, kind))[0]
        except NotFoundError:
            return []  # no Istio, or none of its kinds
        except PermissionDeniedError as error:
            problems.append(f"{name} cannot be read: {error.message}")
            return None

    webhooks, config_maps, proxy_configs = await asyncio.gather(
        read("Injection webhooks", WEBHOOKS, WebhookConfiguration),
        read("Injector ConfigMaps", path("ConfigMap", ISTIO_NAMESPACE), ConfigMap),
        read("ProxyConfigs", PROXY_CONFIGS, ProxyConfig),
    )
    injector = Injector(
        injection_webhooks(webhooks or ()),
        _configs_by_revision(config_maps or ()),
        None if proxy_configs is None else tuple(proxy_configs),
        "injection webhooks cannot be read" if webhooks is None else None,
    )
    return injector, problems


def _configs_by_revision(config_maps: Iterable[ConfigMap]) -> dict[str, InjectorConfig]:
    by_name = {config_map.metadata.name: config_map for config_map in config_maps}
    configs = [
        injector_config(config_map, by_name.get(_MESH_MAP + name.removeprefix(_INJECTOR_MAP)))
        for name, config_map in by_name.items()
        if name.startswith(_INJECTOR_MAP)
    ]
    return {config.revision: config for config in configs}
