"""The module's restart of stale sidecars: page after page, no waiting, no order, no limit (KI pkg/lib/sidecars)."""

import logging
from collections.abc import Iterator

from deploy.local.kyma.api import STRATEGIC, Api, ApiError, Object, path_of, retry_transient
from deploy.local.kyma.objects import timestamp
from deploy.local.kyma.selection import Action, ExpectedProxy, action_for, is_considered, is_kyma, is_stale

RESTARTED_AT = "istio-operator.kyma-project.io/restartedAt"
PAGE = 30
NAMED = 5

log = logging.getLogger("istio-controller-manager")


class RestartError(Exception):
    """Kyma's own workloads could not all be restarted; customers' were not tried."""


def restart_sidecars(api: Api, expected: ExpectedProxy) -> list[str]:
    """Restart every stale sidecar; returns `namespace/name` of customers' Pods that cannot be (proxy.go).

    Kyma's workloads come first and must succeed. A customer's workload that refuses is only logged.
    """
    leftovers = _restart(api, expected, kyma=True, fail_on_error=True)
    if leftovers:
        raise RestartError(leftover_message(leftovers))
    try:
        return _restart(api, expected, kyma=False, fail_on_error=False)
    except ApiError as error:
        log.warning("failed to restart Customer proxies: %s", error)
        return ["n/a/n/a"]


def leftover_message(leftovers: list[str]) -> str:
    """At most five names (KI BuildWarningMessage)."""
    message = f"The sidecars of the following workloads could not be restarted: {', '.join(leftovers[:NAMED])}"
    more = len(leftovers) - NAMED
    return f"{message} and {more} additional workload(s)" if more > 0 else message


def mark_template(api: Api, kind: str, namespace: str, name: str) -> None:
    """Write the module's restart annotation into a Pod template, without saying which version was read."""
    patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: timestamp()}}}}}
    retry_transient(lambda: api.patch(path_of(kind, namespace, name), patch, STRATEGIC))


def _restart(api: Api, expected: ExpectedProxy, *, kyma: bool, fail_on_error: bool) -> list[str]:
    leftovers: list[str] = []
    for page in _pages(api):
        done: set[tuple[str, str, str]] = set()  # per page only: a workload on two pages is patched twice
        for pod in page:
            if not is_considered(pod) or is_kyma(pod) is not kyma or not is_stale(pod, expected):
                continue
            try:
                leftovers += _act(api, pod, done)
            except (ApiError, NotImplementedError) as error:
                where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                if fail_on_error:
                    raise RestartError(f"running pod restart action failed: {error}") from error
                log.warning("restarting %s failed: %s", where, error)
    return leftovers


def _act(api: Api, pod: Object, done: set[tuple[str, str, str]]) -> list[str]:
    """Do what one Pod needs, once per target; returns its name if it needs a human."""
    action = action_for(
        pod,
        lambda namespace, name: api.find(path_of("ReplicaSet", namespace, name)),
        lambda namespace: api.items(path_of("ReplicaSet", namespace)),
    )
    key = (action.kind, action.namespace, action.name)
    if key in done:
        return []
    done.add(key)
    return _run(api, action)


def _run(api: Api, action: Action) -> list[str]:
    where = f"{action.namespace}/{action.name}"
    log.info("%s %s %s %s", action.verb, action.kind, where, action.message)
    match action.verb:
        case "patch":
            mark_template(api, action.kind, action.namespace, action.name)
        case "delete":
            retry_transient(lambda: api.delete(path_of("Pod", action.namespace, action.name)))
        case "fail":
            raise NotImplementedError(action.message)
        case "warn":
            return [where]
        case "log":
            pass
    return []


def _pages(api: Api) -> Iterator[list[Object]]:
    query: dict[str, str | int] = {"field_selector": "status.phase=Running", "limit": PAGE}
    token = ""
    while True:
        page = api.get("/api/v1/pods", **query, **({"continue": token} if token else {}))
        yield page["items"]
        token = page["metadata"].get("continue", "")
        if not token:
            return
