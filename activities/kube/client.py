"""A connection to one API server: paths in, msgspec structs out, errors translated at this edge.

`kubernetes.aio` brings what is hard to get right (kubeconfig, exec plugins, token renewal, TLS, proxies). Its models
are not used: decoding 10,000 Pods into them takes twenty times as long as into the structs of `mesh.k8s.objects`
(docs/adr/0002).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from google.protobuf.message import DecodeError
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

from activities.kube.framing import frames, lines
from activities.kube.kubeconfig import current_context
from activities.kube.protobuf import ACCEPT, MEDIA_TYPE, status
from mesh.errors import (
    ChangedMeanwhileError,
    ClusterError,
    ExpiredError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    RejectedError,
    UnreachableError,
    UpgradeError,
)
from mesh.k8s.objects import Metadata

T = TypeVar("T")
K = TypeVar("K")
Params = Mapping[str, str | int | bool]
_Headers = Mapping[str, str]

_JSON = "application/json"
#: The metadata alone where the server can; source: kubernetes.io/docs/reference/using-api/api-concepts.
_METADATA = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{_JSON}"
FIELD_MANAGER = "kyma-upgrade"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

#: Pods a page: each costs the API server about 25 kB.
_PAGE = 500
#: Items of a page that are decoded in one go: a millisecond or two.
_TURN = 25
#: Bytes of a stream that are taken at once.
_PIECE = 128 * 1024
#: Seconds before each further try of a reading.
_READ_PAUSES = (0.2, 0.8, 3.2)
_LONGEST_PAUSE = 30.0
#: A list whose pages expired starts anew this often, after this pause.
_STARTS = 10
_RESTART_SECONDS = 0.5
_CONNECT_SECONDS = 5.0
_TOTAL_SECONDS = 60.0
#: API servers end watches after 30 to 60 minutes by themselves; asking for less keeps a dead connection short.
_WATCH_SECONDS = 300
#: A token from an exec plugin or OIDC is fetched when the configuration is loaded, so it is loaded anew at times.
_RELOAD_SECONDS = 600.0


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """`metadata` of a list."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class PartialObjectMetadata(msgspec.Struct, frozen=True):
    """An object of any kind, as far as it says which."""

    metadata: Metadata = Metadata()


class Page(msgspec.Struct, frozen=True):
    """A list whose items are not decoded yet."""

    metadata: ListMeta = ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """A `metav1.Status`: what the API server answers when it does not do what was asked."""

    message: str = ""
    reason: str = ""
    code: int = 0


class Event(msgspec.Struct, frozen=True):
    """One line of a watch; `object` is decoded by whoever knows its kind."""

    type: str
    object: msgspec.Raw


class ClusterClient:
    """One API server. Build with `connect`; use as an asynchronous context manager or `close` it."""

    def __init__(self, api: ApiClient, settings: _Source) -> None:
        self._api = api
        self._source = settings
        self._loaded = time.monotonic()
        self._near = _is_near(settings)
        self.context = settings.context or ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    @property
    def host(self) -> str:
        """The API server's address, for messages."""
        return str(self._api.configuration.host)

    async def get(self, path: str, kind: type[T], params: Params | None = None) -> T:
        """Reads one object."""
        return await self._read(path, params, kind)

    async def find(self, path: str, kind: type[T]) -> T | None:
        """Reads one object, None when it or its kind is not there."""
        try:
            return await self.get(path, kind)
        except NotFoundError:
            return None

    async def list_all(self, path: str, kind: type[T], params: Params | None = None) -> tuple[list[T], str]:
        """All items, in pages, and the one resource version they were read at."""
        return await self.list_transformed(path, kind, lambda one: one, params)

    async def list_transformed(
        self, path: str, kind: type[T], keep: Callable[[T], K | None], params: Params | None = None
    ) -> tuple[list[K], str]:
        """What `keep` makes of all items, None left out. Starts again once a page expired.

        A connection cut half-way is an error or a new start, never a short list.
        """
        decoder = msgspec.json.Decoder(kind)

        def kept(item: msgspec.Raw) -> K | None:
            try:
                return keep(decoder.decode(item))
            except msgspec.ValidationError as error:
                raise unreadable(item, path) from error

        for _ in range(_STARTS):
            try:
                return await self._pages(path, kept, params or {})
            except ExpiredError:
                await asyncio.sleep(_RESTART_SECONDS)
        raise UnreachableError(f"{path} cannot be read to its end: its pages expire faster than they are read.")

    async def _pages(self, path: str, keep: Callable[[msgspec.Raw], K | None], params: Params) -> tuple[list[K], str]:
        """The API server writes the next page while this one is decoded, each on a core of its own."""
        kept: list[K] = []
        page = await self._page(path, params)
        while token := page.metadata.continue_:
            coming = asyncio.create_task(self._page(path, {**params, "continue": token}))
            try:
                for start in range(0, len(page.items), _TURN):
                    await asyncio.sleep(0)  # the request for the next page, and its answer, have their turn
                    kept += [one for item in page.items[start : start + _TURN] if (one := keep(item)) is not None]
                page = await coming
            finally:
                coming.cancel()
        kept += [one for item in page.items if (one := keep(item)) is not None]
        return kept, page.metadata.resource_version

    async def _page(self, path: str, params: Params) -> Page:
        return await self._read(path, {**params, "limit": _PAGE}, Page)

    async def watch(
        self, path: str, resource_version: str, params: Params | None = None
    ) -> AsyncIterator[tuple[str, msgspec.Raw]]:
        """Events since that version as (type, object); ends when the server ends it, ExpiredError on 410."""
        asked = {
            **(params or {}),
            "watch": True,
            "resourceVersion": resource_version,
            "allowWatchBookmarks": True,
            "timeoutSeconds": _WATCH_SECONDS,
        }
        async with contextlib.aclosing(self.records(path, asked, _WATCH_SECONDS + 30)) as records:
            async for line in records:
                event = event_of(line, path)
                yield event.type, event.object

    async def records(
        self, path: str, params: Params, silence: float, *, protobuf: bool = False
    ) -> AsyncGenerator[bytes]:
        """The records of a watch as they come; UnreachableError when it is cut, or silent for that many seconds.

        Lines of JSON, or frames of protobuf where that is asked for and the server has it: see `framing.is_frame`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        headers = {"Accept": ACCEPT} if protobuf else {}
        response = await self._send("GET", path, params, None, headers, timeout)
        try:
            if response.status == 401:
                await self._reload()
            if response.status >= 400:
                raise _error(response, await response.read(), "GET", path)
            split = frames if response.content_type == MEDIA_TYPE else lines
            rest = b""
            # Not aiohttp's own lines: those end at 128 kB, and an object may have a megabyte. Nor all that has come by
            # now: that may be some megabytes, three times over while they are split.
            async for chunk in response.content.iter_chunked(_PIECE):
                whole, rest = split(rest + chunk)
                for record in whole:
                    yield record
            if rest:
                raise UnreachableError(f"The stream of {path} was cut in the middle of a record.")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"The stream of {path} was cut: {error or type(error).__name__}.") from error
        finally:
            response.close()

    async def create(self, path: str, body: object, kind: type[T], *, dry_run: bool = False) -> T:
        """Creates an object; with `dry_run` it goes through admission and is not stored."""
        return _decode(await self._write("POST", path, body, {"Content-Type": _JSON}, dry_run=dry_run), kind)

    async def patch(
        self, path: str, body: object, kind: type[T], content_type: str = MERGE_PATCH, *, dry_run: bool = False
    ) -> T:
        """Patches an object. With `metadata.resourceVersion` in the body a concurrent change is a 409.

        As `PartialObjectMetadata` only its metadata is sent back, a tenth of a Pod.
        """
        headers = {"Content-Type": content_type} | ({"Accept": _METADATA} if kind is PartialObjectMetadata else {})
        return _decode(await self._write("PATCH", path, body, headers, dry_run=dry_run), kind)

    async def delete(self, path: str) -> None:
        """Deletes an object; one that is not there is fine."""
        try:
            await self._write("DELETE", path, None, {"Content-Type": _JSON})
        except NotFoundError:
            return

    async def _read(self, path: str, params: Params | None, kind: type[T]) -> T:
        """Reading is safe to repeat, so short troubles are waited out here."""

        async def read() -> T:
            # An answer that was cut may show only when it is decoded.
            return _decode(await self._exchange("GET", path, params, None, {}), kind)

        try:
            return await with_retries(read)
        except PermissionDeniedError as error:
            if error.status != 401:
                raise
            # A token that has run out is renewed after its refusal.
            return await with_retries(read)

    async def _write(self, method: str, path: str, body: object, headers: _Headers, *, dry_run: bool = False) -> bytes:
        params: dict[str, str | int | bool] = {} if method == "DELETE" else {"fieldManager": FIELD_MANAGER}
        if dry_run:
            params["dryRun"] = "All"
        if headers["Content-Type"] == APPLY_PATCH:
            # What is applied is the service's own; a field that a person edited meanwhile comes back.
            params["force"] = True
        return await self._exchange(method, path, params, body, headers)

    async def _exchange(self, method: str, path: str, params: Params | None, body: object, headers: _Headers) -> bytes:
        timeout = aiohttp.ClientTimeout(total=_TOTAL_SECONDS, sock_connect=_CONNECT_SECONDS)
        response = await self._send(method, path, params, body, headers, timeout)
        try:
            content: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"The answer to {method} {path} was cut: {error}.") from error
        if response.status == 401:
            # The token may have been renewed behind our back.
            await self._reload()
        if response.status >= 400:
            raise _error(response, content, method, path)
        return content

    async def _send(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: object,
        headers: _Headers,
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if time.monotonic() - self._loaded > _RELOAD_SECONDS:
            await self._reload()
        # Without a value aiohttp asks for compressed answers.
        plain = {"Accept-Encoding": "identity"} if self._near else {}
        query = [
            (key, str(value).lower() if isinstance(value, bool) else value) for key, value in (params or {}).items()
        ]
        try:
            # Positional parts of the generated client: method, url, headers, body, form.
            request = await self._api.param_serialize(
                method,
                path,
                query_params=query,
                header_params={"Accept": _JSON, **plain, **headers},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(*request, _request_timeout=patience)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(
                f"The cluster at {self.host} does not answer: {error or type(error).__name__}.",
                "Check the kubeconfig and the network.",
            ) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _reload(self) -> None:
        self._loaded = time.monotonic()
        fresh = await _load(self._source)
        self._api.configuration.api_key = fresh.api_key
        self._api.configuration.refresh_api_key_hook = fresh.refresh_api_key_hook


async def with_retries(read: Callable[[], Awaitable[T]]) -> T:
    """Repeats a reading through short troubles, and as late as the server asks for (Retry-After)."""
    for pause in _READ_PAUSES:
        try:
            return await read()
        except UnreachableError as error:
            await asyncio.sleep(max(pause, min(error.retry_after or 0, _LONGEST_PAUSE)))
    return await read()


class _Source(msgspec.Struct, frozen=True):
    """Where the configuration comes from."""

    kubeconfig: str | None
    context: str | None


async def connect(kubeconfig: str | None = None, context: str | None = None) -> ClusterClient:
    """Connects by kubeconfig; without one by the ordinary rules: `KUBECONFIG`, the home directory, in-cluster."""
    source = _Source(kubeconfig, context)
    configuration = await _load(source)
    # What aiohttp takes from the environment it looks up for each request, in a thread of its own; and a login from a
    # .netrc, which kubectl does not read, it refuses to send beside a token.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.proxy = configuration.proxy or _proxy_of(configuration.host)
    if context is None:
        source = _Source(kubeconfig, current_context(kubeconfig))
    return ClusterClient(ApiClient(configuration), source)


def _proxy_of(address: str) -> str | None:
    """The environment's proxy for it, as `https_proxy` and `no_proxy` say."""
    url = urlsplit(address)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _is_near(source: _Source) -> bool:
    """Whether answers come uncompressed: within the cluster, and where a kubeconfig says `disable-compression`.

    The API server compresses a stream on the one core that writes it: with a network that is fast enough that is
    what a reading waits for. Source: k8s.io/client-go/tools/clientcmd/api, Cluster.DisableCompression.
    """
    if source.context is None:
        return True  # no kubeconfig: this is a Pod
    merged = KubeConfigMerger(source.kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).config
    name = merged["contexts"].get_with_name(source.context)["context"]["cluster"]
    return bool(merged["clusters"].get_with_name(name)["cluster"].safe_get("disable-compression"))


async def _load(source: _Source) -> Configuration:
    configuration = Configuration()
    # A wave of restarts and the watches beside it share this pool; an encrypted connection has a quarter megabyte of
    # buffers, and the API server orders the writes of two hundred restarts anyway.
    configuration.connection_pool_maxsize = 64
    try:
        await config.load_kube_config(
            config_file=source.kubeconfig, context=source.context, client_configuration=configuration
        )
    except (config.ConfigException, OSError) as error:
        if source.kubeconfig is None and source.context is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                pass
            else:
                return configuration
        raise _unusable(source.kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION, error) from error
    return configuration


def _unusable(named: str, error: Exception) -> RefusedError:
    there = any(Path(one).expanduser().exists() for one in named.split(os.pathsep))
    return RefusedError(
        f"The kubeconfig {named} cannot be used: {error if there else 'there is no such file'}.",
        "Name another with --kubeconfig, or another context with --context.",
    )


def event_of(line: bytes, path: str) -> Event:
    """One line of a watch; an ERROR is raised as what it means."""
    event = _decode(line, Event)
    if event.type == "ERROR":
        status = _decode(event.object, Status)
        raise translated(status.code, status, "GET", path)
    return event


def unreadable(item: bytes | msgspec.Raw, path: str) -> RejectedError:
    """That an object is none of its kind, or something like it with fields of other forms."""
    about = _decode(item, PartialObjectMetadata).metadata
    return RejectedError(f"An object of {path} cannot be read: {about.namespace}/{about.name}.")


def _decode(content: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        # Truncated JSON looks like this: the connection was cut where the length was not known.
        raise UnreachableError(f"The cluster's answer cannot be read: {error}.") from error


def status_of(sent: bytes) -> Status:
    """What a protobuf message says that the API server answers."""
    code, reason, message = status(sent)
    return Status(message, reason, code)


def _error(response: aiohttp.ClientResponse, content: bytes, method: str, path: str) -> UpgradeError:
    try:
        framed = response.content_type == MEDIA_TYPE
        answer = status_of(content) if framed else msgspec.json.decode(content, type=Status)
    except (msgspec.DecodeError, DecodeError):
        answer = Status(message=content[:200].decode(errors="replace"))
    error = translated(response.status, answer, method, path)
    if isinstance(error, UnreachableError):
        error.retry_after = _seconds(response.headers.get("Retry-After"))
    return error


def _seconds(text: str | None) -> float | None:
    """Of a Retry-After header: the API server writes whole seconds."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else None


def translated(status: int, answer: Status, method: str, path: str) -> UpgradeError:
    """What a refusal means."""
    message = f"{method} {path}: {answer.message or 'HTTP ' + str(status)}"
    if status == 401:
        return PermissionDeniedError(
            f"The cluster does not know these credentials ({message}).", "Renew them, or use another context.", status
        )
    if status == 403:
        # Admission answers 403 as well; only the authoriser says who cannot do what.
        if " cannot " in answer.message:
            return PermissionDeniedError(
                f"A right is missing: {answer.message}.", "Grant it, see deploy/rbac.yaml.", 403
            )
        return RejectedError(message, status=status)
    if status in (400, 422):
        return RejectedError(message, status=status)
    if status == 404:
        return NotFoundError(message, status=status)
    if status == 409:
        return ChangedMeanwhileError(message, status=status)
    if status == 410:
        return ExpiredError(message, status=status)
    if status == 429 or status >= 500:
        return UnreachableError(f"The cluster asks for patience ({status}): {message}.")
    return ClusterError(message, status=status)
