"""The Kubernetes API as this package uses it: plain JSON objects, read, patched and watched by path."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kubernetes import client, config
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

FIELD_MANAGER = "kyma-stand-in"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

KYMA_API = "/apis/operator.kyma-project.io"
PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Istio": KYMA_API + "/v1alpha2/namespaces/{namespace}/istios",
    "Kyma": KYMA_API + "/v1beta2/namespaces/{namespace}/kymas",
    "ModuleReleaseMeta": KYMA_API + "/v1beta2/namespaces/{namespace}/modulereleasemetas",
    "ModuleTemplate": KYMA_API + "/v1beta2/namespaces/{namespace}/moduletemplates",
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "ReplicaSet": "/apis/apps/v1/namespaces/{namespace}/replicasets",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets",
}


class ApiError(Exception):
    """The API server refused a request, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The path of one object, or of all of a kind in a namespace when no name is given."""
    collection = PATHS[kind].format(namespace=namespace)
    return f"{collection}/{name}" if name else collection


class Api:
    """One identity's connection to the cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = config.new_client_from_config(config_file=str(kubeconfig))  # type: ignore[no-untyped-call]

    def get(self, path: str, **query: str | int) -> Object:
        """The object or list at this path; query parameters in Python's names (`label_selector`)."""
        return self._json("GET", path, query=query)

    def find(self, path: str) -> Object | None:
        """The object at this path, None if there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: str | int) -> list[Object]:
        """The items of a list; none if its kind is not known to the cluster."""
        try:
            return list(self.get(path, **query)["items"])
        except ApiError as error:
            if error.status == 404:
                return []
            raise

    def post(self, path: str, body: Object) -> Object:
        """Create an object, or ask a subresource."""
        return self._json("POST", path, body)

    def patch(self, path: str, body: Object, content_type: str = MERGE) -> Object:
        """Patch an object without stating what version of it was read."""
        return self._json("PATCH", path, body, content_type)

    def apply(self, manifest: Object) -> Object:
        """Server-side apply of a whole manifest, taking over fields that others own."""
        metadata = manifest["metadata"]
        path = path_of(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        return self._json("PATCH", path, manifest, APPLY, {"field_manager": FIELD_MANAGER, "force": "true"})

    def delete(self, path: str) -> None:
        """Delete an object."""
        self._json("DELETE", path)

    def watch(self, path: str, **query: str | int) -> Iterator[Object]:
        """Events on this path from now on, until the server ends the stream (minutes)."""
        query |= {"watch": "true", "timeout_seconds": 300, "resource_version": "0"}
        response = self._request("GET", path, query=query)
        for line in response.response:
            yield json.loads(line)

    def _json(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json",
        query: dict[str, str | int] | None = None,
    ) -> Object:  # fmt: skip
        answer: Object = json.loads(self._request(method, path, body, content_type, query).read())
        return answer

    def _request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json",
        query: dict[str, str | int] | None = None,
    ) -> Any:  # fmt: skip  # noqa: ANN401
        pairs = {_camel(key): value for key, value in (query or {}).items()}
        request = self._client.param_serialize(
            method,
            f"{path}?{urlencode(pairs)}" if pairs else path,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*request)
        except (HTTPError, client.ApiException) as error:
            raise ApiError(0, f"{method} {path}: {error}") from error
        if response.status >= 400:
            text = response.read().decode(errors="replace")
            with contextlib.suppress(ValueError, KeyError):
                text = json.loads(text)["message"]
            raise ApiError(response.status, text)
        return response


def retry_transient(call: Callable[[], Object | None], pause: float = 0.1) -> None:
    """Try five times what the server says is worth another try.

    KI pkg/lib/sidecars/retry/retry.go: 429, timeouts, 503 and conflicts.
    """
    for attempt in range(5):
        try:
            call()
        except ApiError as error:
            if attempt == 4 or error.status not in {409, 429, 503, 504}:
                raise
            time.sleep(pause * 2**attempt)
        else:
            return


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
