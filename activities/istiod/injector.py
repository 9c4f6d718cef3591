"""Asks the cluster's own injector what a template would get: an AdmissionReview to istiod, as the API server sends it.

istiod is reached at its Service's cluster IP, which is right inside the cluster without needing its DNS. Where it
cannot be reached (a laptop), plain templates are computed from the revision's ConfigMap, and the others stay unknown.
Source of the request's form: istio/istio, pkg/kube/inject/webhook.go, serveInject.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import jsonpatch
import msgspec

from activities.istiod.addresses import read_service_ip, url_host
from activities.kube.client import ClusterClient
from mesh.errors import UpgradeError
from mesh.istio.expected_proxy import ExpectedProxy, InjectionQuery, answered, computed
from mesh.istio.injection import Injector
from mesh.k8s.objects import ClientConfig, Container, Pod, PodSpec
from mesh.wellknown import FIELD_MANAGER

_AT_ONCE = 16
_PATIENCE = aiohttp.ClientTimeout(total=10, sock_connect=2)


class _NoAnswerError(Exception):
    """The injector has no usable answer to this question; the reason is the message."""


class _UnreachableInjectorError(_NoAnswerError):
    """It cannot be asked from here at all."""


async def ask_injector(
    cluster: ClusterClient, injector: Injector, questions: Iterable[InjectionQuery]
) -> Mapping[str, ExpectedProxy]:
    """An answer for every question: from the injector, else computed, else unknown with the problem."""
    places: dict[ClientConfig, str | _UnreachableInjectorError] = {}
    trusted: dict[str, ssl.SSLContext] = {}
    limit = asyncio.Semaphore(_AT_ONCE)
    asked = list(questions)
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        for question in asked:
            client = _client(question)
            if client not in places:
                try:
                    places[client] = await _address(cluster, client)
                except _UnreachableInjectorError as error:
                    places[client] = error

        async def one(question: InjectionQuery) -> ExpectedProxy:
            if question.problem is not None:
                return ExpectedProxy(None, None, question.problem)
            place = places[_client(question)]
            try:
                if isinstance(place, _UnreachableInjectorError):
                    raise place
                async with limit:
                    return answered(await _ask(session, place, trusted, question))
            except _UnreachableInjectorError as error:
                places[_client(question)] = error
                return computed(injector, question, str(error))
            except _NoAnswerError as error:
                # It would answer the API server the same.
                return ExpectedProxy(None, None, str(error))

        answers = await asyncio.gather(*(one(question) for question in asked))
    return {question.key: answer for question, answer in zip(asked, answers, strict=True)}


def _client(question: InjectionQuery) -> ClientConfig:
    assert question.decision.webhook is not None  # noqa: S101  only injected templates are asked about
    return question.decision.webhook.client


async def _address(cluster: ClusterClient, client: ClientConfig) -> str:
    if client.url is not None:
        return client.url
    if client.service is None:
        raise _UnreachableInjectorError("the webhook names neither service nor url")
    try:
        host = await read_service_ip(cluster, client.service.namespace, client.service.name)
    except UpgradeError as error:
        raise _UnreachableInjectorError(error.message) from error
    if not host:
        raise _UnreachableInjectorError(f"Service {client.service.name} has no cluster IP")
    return f"https://{url_host(host)}:{client.service.port}{client.service.path}"


async def _ask(
    session: aiohttp.ClientSession, address: str, trusted: dict[str, ssl.SSLContext], question: InjectionQuery
) -> Pod:
    """The Pod that the injector would make of the template."""
    client = _client(question)
    try:
        trust = trusted.get(client.ca_bundle)
        if trust is None:
            # One context for all questions: connections are kept by it.
            trust = ssl.create_default_context(cadata=base64.b64decode(client.ca_bundle).decode() or None)
            trusted[client.ca_bundle] = trust
        server = f"{client.service.name}.{client.service.namespace}.svc" if client.service else None
        review = _review(question)
        async with session.post(address, json=review, ssl=trust, server_hostname=server) as response:
            answer = await response.json(content_type=None)
        reply = answer["response"]
        if not reply.get("allowed", False):
            raise _NoAnswerError(f"the injector refused: {(reply.get('status') or {}).get('message', '')}")
        pod = review["request"]["object"]
        if reply.get("patch"):
            pod = jsonpatch.apply_patch(pod, json.loads(base64.b64decode(reply["patch"])))
        return msgspec.convert(pod, Pod)
    except (aiohttp.ClientError, TimeoutError, OSError, binascii.Error) as error:
        raise _UnreachableInjectorError(f"the injector does not answer: {error or type(error).__name__}") from error
    except (KeyError, TypeError, ValueError, jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise _NoAnswerError(f"the injector's answer cannot be read: {error!r}") from error


def _spec(spec: PodSpec) -> dict[str, Any]:
    if spec.whole is None:
        found: dict[str, Any] = {
            "containers": [_written(one) for one in spec.containers],
            "initContainers": [_written(one) for one in spec.init_containers or ()],
        }
    else:
        found = json.loads(spec.whole)
        for field, known in (("containers", spec.containers), ("initContainers", spec.init_containers or ())):
            # Of an injected Pod those that are its own.
            names = {one.name for one in known}
            found[field] = [one for one in found.get(field) or () if one["name"] in names]
    # As the API server's admission sets it before any webhook is asked.
    found["serviceAccountName"] = spec.service_account_name or "default"
    return found


def _written(container: Container) -> dict[str, Any]:
    """As the API has it, without what is not set."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(container))
    resources = found.pop("resources") or {}
    return {
        **{key: value for key, value in found.items() if value is not None},
        "resources": {key: value for key, value in resources.items() if value is not None},
    }


def _review(question: InjectionQuery) -> dict[str, Any]:
    metadata = question.template.metadata
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "survey-",
            "namespace": question.namespace,
            "labels": metadata.labels or {},
            "annotations": metadata.annotations or {},
        },
        "spec": _spec(question.template.spec),
    }
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    request = {
        "uid": "kyma-upgrade-survey",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "namespace": question.namespace,
        "operation": "CREATE",
        "userInfo": {"username": FIELD_MANAGER},
        "object": pod,
        "oldObject": None,
        "dryRun": True,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
