import importlib
import inspect
import pkgutil
from typing import Any, cast

import pytest
from temporalio import activity

import activities
from activities.boundary import ServedCluster
from activities.kube.client import ClusterClient
from mesh.errors import RefusedError
from mesh.identity import ClusterRef
from worker.cluster_connection import name_of
from worker.compose import compose_activities, namespace_of
from worker.settings import ClusterSettings


class _Unused:
    context = ""


def _served() -> ServedCluster:
    return ServedCluster(cast("ClusterClient", _Unused()), ClusterRef("one", "uid"))


def _declared() -> set[str]:
    found = set()
    for module in pkgutil.walk_packages(activities.__path__, "activities."):
        for _, part in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            for _, method in inspect.getmembers(part, inspect.isfunction):
                name = activity._Definition.from_callable(method)
                if name is not None and name.name:
                    found.add(name.name)
    return found


def test_every_activity_is_served() -> None:
    client: Any = object()
    served = {
        definition.name
        for one in compose_activities(_served(), client)
        if (definition := activity._Definition.from_callable(one)) is not None
    }

    assert served == _declared()


@pytest.mark.parametrize(
    ("host", "namespaces"),
    [
        ("temporal-frontend.temporal.svc:7233", ("temporal",)),
        ("temporal-frontend.temporal.svc.cluster.local:7233", ("temporal",)),
        ("temporal.example.com:7233", ()),
        ("localhost:7233", ()),
        ("127.0.0.1:7233", ()),
    ],
)
def test_address_of_temporal_names_its_namespace(host: str, namespaces: tuple[str, ...]) -> None:
    assert namespace_of(host) == namespaces


@pytest.mark.parametrize(
    ("configured", "context", "name"),
    [(None, "Kyma_Prod/EU", "kyma-prod-eu"), ("shop", "other", "shop"), ("Shop", "", "shop")],
)
def test_cluster_is_named_as_configured_else_by_its_context(configured: str | None, context: str, name: str) -> None:
    cluster: Any = type("_Cluster", (), {"context": context})()

    assert name_of(cluster, ClusterSettings(cluster=configured)) == name


def test_cluster_without_a_name_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        name_of(_served().cluster, ClusterSettings())

    assert "--cluster" in refused.value.remedy
