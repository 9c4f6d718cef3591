"""Builds the AdmissionReview that asks an injector about a template, in the form in which the API server sends it.

Source: istio/istio, pkg/kube/inject/webhook.go, serveInject.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from mesh.istio.expected_proxy import InjectionQuery
from mesh.k8s.objects import Container, PodSpec
from mesh.wellknown import FIELD_MANAGER


def build_review(query: InjectionQuery) -> dict[str, Any]:
    """Returns the AdmissionReview v1 of the creation of a Pod from the query's template, as JSON values."""
    metadata = query.template.metadata
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "survey-",
            "namespace": query.namespace,
            "labels": metadata.labels or {},
            "annotations": metadata.annotations or {},
        },
        "spec": _spec_as_json(query.template.spec),
    }
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    request = {
        "uid": "kyma-upgrade-survey",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "namespace": query.namespace,
        "operation": "CREATE",
        "userInfo": {"username": FIELD_MANAGER},
        "object": pod,
        "oldObject": None,
        "dryRun": True,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _spec_as_json(spec: PodSpec) -> dict[str, Any]:
    if spec.raw is None:
        json_spec: dict[str, Any] = {
            "containers": [_container_as_json(container) for container in spec.containers],
            "initContainers": [_container_as_json(container) for container in spec.init_containers or ()],
        }
    else:
        json_spec = json.loads(spec.raw)
        for field, containers in (("containers", spec.containers), ("initContainers", spec.init_containers or ())):
            # An injected Pod asks with its own containers, without those that were injected.
            names = {container.name for container in containers}
            json_spec[field] = [container for container in json_spec.get(field) or () if container["name"] in names]
    # As the API server's admission sets it before any webhook is asked.
    json_spec["serviceAccountName"] = spec.service_account_name or "default"
    return json_spec


def _container_as_json(container: Container) -> dict[str, Any]:
    """The container without the fields that are not set."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(container))
    resources = fields.pop("resources") or {}
    return {
        **{name: value for name, value in fields.items() if value is not None},
        "resources": {name: value for name, value in resources.items() if value is not None},
    }
