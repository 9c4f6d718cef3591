"""Asks the cluster's own injector what it would make of a template, as the API server does.

istiod is reached at its Service's cluster IP, which is right inside the cluster without needing its DNS. Where it
cannot be reached (a laptop), the proxies of plain templates are computed from the revision's ConfigMap, and those of
the others stay unknown.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import Iterable, Mapping

import aiohttp
import jsonpatch
import msgspec

from activities.istiod.addresses import read_service_ip, url_host
from activities.istiod.admission_review import build_review
from activities.kube.client import ClusterClient
from mesh.errors import UpgradeError
from mesh.istio.expected_proxy import ExpectedProxy, InjectionQuery, computed_proxy, proxy_in_answer
from mesh.istio.injection import Injector
from mesh.k8s.objects import ClientConfig, Pod

_QUERIES_AT_ONCE = 16
_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=2)


class _NoAnswerError(Exception):
    """The injector has no usable answer to a query; the message is the reason."""


class _UnreachableInjectorError(_NoAnswerError):
    """The injector cannot be asked from here at all."""


async def ask_injector(
    cluster: ClusterClient, injector: Injector, queries: Iterable[InjectionQuery]
) -> Mapping[str, ExpectedProxy]:
    """Answers every query, by its key: with what the injector says, else computed, else unknown with the problem."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        return await _Inquiry(cluster, injector, session).answers(list(queries))


class _Inquiry:
    """The queries of one survey, and what they share: addresses of injectors and trust in their certificates."""

    def __init__(self, cluster: ClusterClient, injector: Injector, session: aiohttp.ClientSession) -> None:
        self._cluster = cluster
        self._injector = injector
        self._session = session
        self._limit = asyncio.Semaphore(_QUERIES_AT_ONCE)
        self._addresses: dict[ClientConfig, str | _UnreachableInjectorError] = {}
        self._trusted: dict[str, ssl.SSLContext] = {}

    async def answers(self, queries: list[InjectionQuery]) -> Mapping[str, ExpectedProxy]:
        for client in {_client(query): None for query in queries}:
            try:
                self._addresses[client] = await self._address(client)
            except _UnreachableInjectorError as error:
                self._addresses[client] = error
        answers = await asyncio.gather(*(self._answer(query) for query in queries))
        return {query.key: answer for query, answer in zip(queries, answers, strict=True)}

    async def _answer(self, query: InjectionQuery) -> ExpectedProxy:
        if query.problem is not None:
            return ExpectedProxy(None, None, query.problem)
        address = self._addresses[_client(query)]
        try:
            if isinstance(address, _UnreachableInjectorError):
                raise address
            async with self._limit:
                return proxy_in_answer(await self._injected(address, query))
        except _UnreachableInjectorError as error:
            self._addresses[_client(query)] = error
            return computed_proxy(self._injector, query, str(error))
        except _NoAnswerError as error:
            # The injector would answer the API server the same.
            return ExpectedProxy(None, None, str(error))

    async def _address(self, client: ClientConfig) -> str:
        if client.url is not None:
            return client.url
        service = client.service
        if service is None:
            raise _UnreachableInjectorError("the webhook names neither service nor url")
        try:
            address = await read_service_ip(self._cluster, service.namespace, service.name)
        except UpgradeError as error:
            raise _UnreachableInjectorError(error.message) from error
        if not address:
            raise _UnreachableInjectorError(f"Service {service.name} has no cluster IP")
        return f"https://{url_host(address)}:{service.port}{service.path}"

    async def _injected(self, address: str, query: InjectionQuery) -> Pod:
        """The Pod that the injector would make of the template."""
        client = _client(query)
        try:
            trust = self._trust(client)
            server = f"{client.service.name}.{client.service.namespace}.svc" if client.service else None
            review = build_review(query)
            async with self._session.post(address, json=review, ssl=trust, server_hostname=server) as response:
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

    def _trust(self, client: ClientConfig) -> ssl.SSLContext:
        """The TLS context of a webhook's CA, one for all queries: connections are kept by it."""
        context = self._trusted.get(client.ca_bundle)
        if context is None:
            context = ssl.create_default_context(cadata=base64.b64decode(client.ca_bundle).decode() or None)
            self._trusted[client.ca_bundle] = context
        return context


def _client(query: InjectionQuery) -> ClientConfig:
    assert query.decision.webhook is not None  # noqa: S101  only injected templates are asked about
    return query.decision.webhook.client
