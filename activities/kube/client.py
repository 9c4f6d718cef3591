"""A connection to one API server: paths in, msgspec structs out, refusals raised as errors of `mesh.errors`.

`kubernetes.aio` brings what is hard to get right (kubeconfig, exec plugins, token renewal, TLS, proxies). Its models
are not used: decoding 10,000 Pods into them takes twenty times as long as into the structs of `mesh.k8s.objects`
(docs/adr/0002).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import Self, TypeVar

import aiohttp
import msgspec
from kubernetes.aio.client.api_client import ApiClient

from activities.kube.credentials import CredentialSource, load_configuration, proxy_for
from activities.kube.errors import error_of_response
from activities.kube.framing import splitter
from activities.kube.meta_v1 import ListPage, PartialObjectMetadata, decode, undecodable_object_error
from activities.kube.retries import with_retries
from mesh.errors import ExpiredError, NotFoundError, PermissionDeniedError, UnreachableError
from mesh.wellknown import FIELD_MANAGER

T = TypeVar("T")
K = TypeVar("K")
Params = Mapping[str, str | int | bool]
_Headers = Mapping[str, str]

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

JSON = "application/json"
#: Only the metadata, where the server can. Source: kubernetes.io/docs/reference/using-api/api-concepts.
METADATA_ONLY = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"

#: Items of a page. A Pod costs the API server about 25 kB.
_PAGE = 500
#: Items of a page that are decoded before other tasks get their turn: a millisecond or two.
_DECODED_AT_ONCE = 25
#: Bytes of a stream that are taken at once.
_CHUNK = 128 * 1024
#: Tries of a list whose pages expired, and seconds before the next one.
_LIST_TRIES = 10
_LIST_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS = 5.0
_TOTAL_SECONDS = 60.0
#: A token from an exec plugin or OIDC is fetched when the configuration is loaded, so it is loaded again this often.
_RELOAD_SECONDS = 600.0


class ClusterClient:
    """The connection to one API server. `connect` makes it; it is an asynchronous context manager.

    Every request raises the errors of `mesh.errors`: UnreachableError, PermissionDeniedError, NotFoundError,
    ChangedMeanwhileError, ExpiredError, RejectedError, ClusterError.
    """

    def __init__(self, api: ApiClient, source: CredentialSource) -> None:
        self._api = api
        self._source = source
        self._loaded = time.monotonic()
        self._uncompressed = source.disables_compression
        self.context = source.context or ""

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
        """Reads one object; None when it or its kind does not exist."""
        try:
            return await self.get(path, kind)
        except NotFoundError:
            return None

    async def list_all(self, path: str, kind: type[T], params: Params | None = None) -> tuple[list[T], str]:
        """Lists all items, in pages, with the one resource version they were read at."""
        return await self.list_transformed(path, kind, lambda item: item, params)

    async def list_transformed(
        self, path: str, kind: type[T], transform: Callable[[T], K | None], params: Params | None = None
    ) -> tuple[list[K], str]:
        """Lists what `transform` makes of each item, None left out, and the one resource version they were read at.

        Lists again once a page expired. A connection cut half-way is an error or a new try, never a short list.
        """
        decoder = msgspec.json.Decoder(kind)

        def decoded(item: msgspec.Raw) -> K | None:
            try:
                return transform(decoder.decode(item))
            except msgspec.ValidationError as error:
                raise undecodable_object_error(item, path) from error

        for _ in range(_LIST_TRIES):
            try:
                return await self._list_pages(path, decoded, params or {})
            except ExpiredError:
                await asyncio.sleep(_LIST_PAUSE_SECONDS)
        raise UnreachableError(f"{path} cannot be read to its end: its pages expire faster than they are read.")

    async def _list_pages(
        self, path: str, transform: Callable[[msgspec.Raw], K | None], params: Params
    ) -> tuple[list[K], str]:
        """The API server writes the next page while this one is decoded, each on a core of its own."""
        results: list[K] = []
        page = await self._page(path, params)
        while token := page.metadata.continue_:
            coming = asyncio.create_task(self._page(path, {**params, "continue": token}))
            try:
                for start in range(0, len(page.items), _DECODED_AT_ONCE):
                    await asyncio.sleep(0)  # the request for the next page, and its answer, have their turn
                    results += _present(map(transform, page.items[start : start + _DECODED_AT_ONCE]))
                page = await coming
            finally:
                coming.cancel()
        results += _present(map(transform, page.items))
        return results, page.metadata.resource_version

    async def _page(self, path: str, params: Params) -> ListPage:
        return await self._read(path, {**params, "limit": _PAGE}, ListPage)

    async def watch_records(
        self, path: str, params: Params, silence_seconds: float, accept: str = JSON
    ) -> AsyncGenerator[bytes]:
        """Yields the records of a watch as they come, each whole: lines of JSON or frames of protobuf, see `framing`.

        Raises:
            UnreachableError: the stream was cut, or silent for that many seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence_seconds)
        response = await self._send("GET", path, params, None, {"Accept": accept}, timeout)
        try:
            if response.status == 401:
                await self._reload()
            if response.status >= 400:
                raise error_of_response(response, await response.read(), f"GET {path}")
            split = splitter(response.content_type)
            rest = b""
            # Not aiohttp's own lines: those end at 128 kB, and an object may have a megabyte. Nor all that has come by
            # now: that may be some megabytes, three times over while they are split.
            async for chunk in response.content.iter_chunked(_CHUNK):
                records, rest = split(rest + chunk)
                for record in records:
                    yield record
            if rest:
                raise UnreachableError(f"The stream of {path} was cut in the middle of a record.")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"The stream of {path} was cut: {error or type(error).__name__}.") from error
        finally:
            response.close()

    async def create(self, path: str, body: object, kind: type[T], *, dry_run: bool = False) -> T:
        """Creates an object; with `dry_run` it goes through admission and is not stored."""
        return decode(await self._write("POST", path, body, {"Content-Type": JSON}, dry_run=dry_run), kind)

    async def patch(
        self, path: str, body: object, kind: type[T], content_type: str = MERGE_PATCH, *, dry_run: bool = False
    ) -> T:
        """Patches an object. With `metadata.resourceVersion` in the body a concurrent change is a 409.

        As PartialObjectMetadata only its metadata is sent back, a tenth of a Pod.
        """
        headers = {"Content-Type": content_type} | ({"Accept": METADATA_ONLY} if kind is PartialObjectMetadata else {})
        return decode(await self._write("PATCH", path, body, headers, dry_run=dry_run), kind)

    async def delete(self, path: str) -> None:
        """Deletes an object; one that does not exist is no error."""
        try:
            await self._write("DELETE", path, None, {"Content-Type": JSON})
        except NotFoundError:
            return

    async def _read(self, path: str, params: Params | None, kind: type[T]) -> T:
        """Reads one thing: a GET is safe to repeat, so short troubles are waited out here."""

        async def read() -> T:
            # An answer that was cut may show only when it is decoded.
            return decode(await self._exchange("GET", path, params, None, {}), kind)

        try:
            return await with_retries(read)
        except PermissionDeniedError as error:
            if error.status != 401:
                raise
            # An expired token was renewed after its refusal.
            return await with_retries(read)

    async def _write(self, method: str, path: str, body: object, headers: _Headers, *, dry_run: bool = False) -> bytes:
        params: dict[str, str | int | bool] = {} if method == "DELETE" else {"fieldManager": FIELD_MANAGER}
        if dry_run:
            params["dryRun"] = "All"
        if headers["Content-Type"] == APPLY_PATCH:
            # What is applied is the service's own object: a field that a person has edited is set back.
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
            # A token of a file or a plugin may have expired and have been renewed since it was loaded.
            await self._reload()
        if response.status >= 400:
            raise error_of_response(response, content, f"{method} {path}")
        return content

    async def _send(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: object,
        headers: _Headers,
        time_limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if time.monotonic() - self._loaded > _RELOAD_SECONDS:
            await self._reload()
        # Without a value aiohttp asks for compressed answers.
        encoding = {"Accept-Encoding": "identity"} if self._uncompressed else {}
        query = [
            (key, str(value).lower() if isinstance(value, bool) else value) for key, value in (params or {}).items()
        ]
        try:
            # Positional parts of the generated client: method, url, headers, body, form.
            request = await self._api.param_serialize(
                method,
                path,
                query_params=query,
                header_params={"Accept": JSON, **encoding, **headers},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(*request, _request_timeout=time_limits)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(
                f"The cluster at {self.host} does not answer: {error or type(error).__name__}.",
                "Check the kubeconfig and the network.",
            ) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _reload(self) -> None:
        self._loaded = time.monotonic()
        fresh = await load_configuration(self._source)
        self._api.configuration.api_key = fresh.api_key
        self._api.configuration.refresh_api_key_hook = fresh.refresh_api_key_hook


async def connect(kubeconfig: str | None = None, context: str | None = None) -> ClusterClient:
    """Connects by kubeconfig; without one by the ordinary rules: `KUBECONFIG`, the home directory, in-cluster.

    Raises:
        RefusedError: there is no usable kubeconfig, and this is no Pod.
    """
    source = CredentialSource(kubeconfig, context)
    configuration = await load_configuration(source)
    # What aiohttp takes from the environment it looks up for each request, in a thread of its own; and a login from a
    # .netrc, which kubectl does not read, it refuses to send beside a token.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.proxy = configuration.proxy or proxy_for(configuration.host)
    return ClusterClient(ApiClient(configuration), source.with_current_context())


def _present(results: Iterable[K | None]) -> Iterator[K]:
    return (result for result in results if result is not None)
