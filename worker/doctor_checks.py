"""The checks of `doctor`: what must be right before an upgrade can succeed, each with its remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.gates import probe_injection
from activities.istiod.injector import ask_injector
from activities.kube.client import ClusterClient
from activities.kube.discovery import serves_kind
from activities.kube.injection_config import read_injector
from activities.kube.istiods import read_istiods
from activities.kube.kyma import read_catalogue
from activities.kube.paths import ACCESS_REVIEWS, NAMESPACES, path
from mesh.errors import UpgradeError
from mesh.identity import TASK_QUEUE, ClusterRef
from mesh.istio.expected_proxy import injection_query
from mesh.istio.images import parse_image
from mesh.istio.injection import decide_injection
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Container, Namespace, PodSpec, PodTemplate
from mesh.k8s.rollout import rollout
from mesh.wellknown import HOLD_POLICY, HOLD_PROBE_DEPLOYMENT, HOME_NAMESPACE, PROBE_NAMESPACE
from worker.permissions import Permission, needed_permissions
from worker.search_attribute_registration import check_attributes, create_command, registered_attributes, type_name

#: A poll lasts a minute; a worker that has not polled for longer has stopped.
_POLLED_WITHIN = timedelta(seconds=90)
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#: Access reviews at the same time.
_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. `remedy` says what to do; it is empty when there is nothing to do."""

    name: str
    ok: bool
    message: str
    remedy: str = ""


class _Review(msgspec.Struct, frozen=True):
    class Status(msgspec.Struct, frozen=True):
        allowed: bool = False

    status: Status = Status()


class _Identity(msgspec.Struct, frozen=True):
    class Status(msgspec.Struct, frozen=True):
        class User(msgspec.Struct, frozen=True):
            username: str = ""

        user: User = msgspec.field(name="userInfo", default=User())

    status: Status = Status()


async def check_temporal(client: Client, cluster: str | None) -> list[Check]:
    """Checks the search attributes and the pollers of the task queues.

    The cluster's own task queue is checked only if the name of the cluster is known.
    """
    checks = [Check("temporal", ok=True, message=f"Temporal namespace {client.namespace} answers")]
    checks.append(await _search_attributes(client))
    checks.append(await _pollers(client, TASK_QUEUE, "workflows"))
    if cluster is not None:
        checks.append(await _pollers(client, ClusterRef(cluster, "").activity_queue, "activities"))
    return checks


async def _search_attributes(client: Client) -> Check:
    name = "search-attributes"
    try:
        check = check_attributes(await registered_attributes(client))
    except RPCError as error:
        return Check(name, ok=False, message=f"they cannot be read: {error.message}", remedy="Check --namespace.")
    if check.missing or check.wrong:
        keys = (*check.missing, *(key for key, _ in check.wrong))
        problems = [f"missing: {', '.join(key.name for key in check.missing)}"] if check.missing else []
        problems += [f"{key.name} has type {actual}, not {type_name(key)}" for key, actual in check.wrong]
        remedy = f"Start a worker, which registers them, or run: {create_command(client.namespace, keys)}"
        return Check(name, ok=False, message="; ".join(problems), remedy=remedy)
    return Check(name, ok=True, message="all are registered with the right types")


async def _pollers(client: Client, queue: str, what: str) -> Check:
    name = f"worker-{what}"
    kinds = {"workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, "activities": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY}
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kinds[what]
    )
    try:
        answer = await client.workflow_service.describe_task_queue(request)
    except RPCError as error:
        return Check(name, ok=False, message=f"task queue {queue} cannot be read: {error.message}")
    since = datetime.now(UTC) - _POLLED_WITHIN
    workers = sorted(poller.identity for poller in answer.pollers if poller.last_access_time.ToDatetime(UTC) > since)
    if not workers:
        remedy = "Start a worker: kyma-upgrade worker"
        return Check(name, ok=False, message=f"no worker polls task queue {queue}", remedy=remedy)
    return Check(name, ok=True, message=f"task queue {queue} is polled by {', '.join(workers)}")


async def check_cluster(cluster: ClusterClient, ref: ClusterRef) -> list[Check]:
    """Checks the cluster with the identity of the kubeconfig."""
    first = Check("cluster", ok=True, message=f"{cluster.host} answers; cluster {ref.name} has UID {ref.uid}")
    parts = await asyncio.gather(
        _permissions(cluster),
        _failed_on_error("kyma", _kyma(cluster)),
        _failed_on_error("istio", _istio(cluster)),
        _failed_on_error("injector-admission", _injection_by_admission(cluster)),
        _failed_on_error("injector-direct", _injector(cluster)),
        _failed_on_error("hold", _hold(cluster)),
    )
    return [first, *parts[0], *parts[1:]]


async def _failed_on_error(name: str, check: Awaitable[Check]) -> Check:
    """Returns the check; a failed one if it cannot be made."""
    try:
        return await check
    except UpgradeError as error:
        return Check(name, ok=False, message=error.message, remedy=error.remedy)


async def _permissions(cluster: ClusterClient) -> list[Check]:
    limit = asyncio.Semaphore(_CONCURRENCY)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        who = (await cluster.create(_WHO_AM_I, body, _Identity)).status.user.username
    except UpgradeError:
        who = "this identity"

    async def checked(permission: Permission) -> Check:
        async with limit:
            return await _failed_on_error(f"permission {permission}", _allowed(cluster, permission, who))

    rollouts = await serves_kind(cluster, ARGO_ROLLOUT)
    return list(await asyncio.gather(*(checked(permission) for permission in needed_permissions(rollouts=rollouts))))


async def _allowed(cluster: ClusterClient, permission: Permission, who: str) -> Check:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": permission.namespace or "",
        "name": permission.name or "",
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    allowed = (await cluster.create(ACCESS_REVIEWS, body, _Review)).status.allowed
    remedy = "" if allowed else "Run: kubectl apply --server-side -f deploy/rbac.yaml"
    message = f"granted to {who}" if allowed else f"not granted to {who}"
    return Check(f"permission {permission}", allowed, message, remedy)


async def _kyma(cluster: ClusterClient) -> Check:
    catalogue = await read_catalogue(cluster)
    kyma = catalogue.kyma
    if kyma.module is None:
        return Check(
            "kyma", ok=False, message="the Kyma CR has no module istio", remedy="Add module istio to the Kyma CR."
        )
    status = kyma.module_status
    version, state = status.version or "unknown", status.state or "unknown"
    message = f"module istio: version {version}, channel {kyma.channel}, state {state}"
    return Check("kyma", ok=True, message=message)


async def _istio(cluster: ClusterClient) -> Check:
    istiods = await read_istiods(cluster)
    if not istiods:
        return Check("istio", ok=False, message="there is no istiod in istio-system", remedy="Install Istio first.")
    states, ready = [], True
    for istiod in istiods:
        state = rollout(istiod.workload)
        ready = ready and state.complete
        version = parse_image(istiod.image).version or istiod.image
        states.append(f"revision {istiod.revision}: {version}, {state.message}")
    remedy = "" if ready else "See: kubectl -n istio-system describe deployment -l app=istiod"
    return Check("istio", ready, "; ".join(states), remedy)


async def _injection_by_admission(cluster: ClusterClient) -> Check:
    """Checks the API server's path to the injector, with a dry-run Pod."""
    image = await probe_injection(cluster)
    if image is None:
        message = f"a new Pod in namespace {PROBE_NAMESPACE} gets no sidecar"
        return Check(
            "injector-admission",
            ok=False,
            message=message,
            remedy="Run: kubectl apply --server-side -f deploy/rbac.yaml",
        )
    return Check("injector-admission", ok=True, message=f"a new Pod gets {image}")


async def _injector(cluster: ClusterClient) -> Check:
    """Checks our own path to the injector.

    Without it, the expected proxies of plain injection templates are computed, and those of others are unknown.
    """
    name = "injector-direct"
    injector = await read_injector(cluster)
    namespace = await cluster.get(f"{NAMESPACES}/{PROBE_NAMESPACE}", Namespace)
    template = PodTemplate(spec=PodSpec(containers=(Container(name="probe", image="pause"),)))
    decision = decide_injection(injector, PROBE_NAMESPACE, namespace.metadata.labels or {}, template)
    if not decision.injected:
        message = f"no injector answers for namespace {PROBE_NAMESPACE}: {decision.reason}"
        return Check(name, ok=False, message=message, remedy="Run: kubectl apply --server-side -f deploy/rbac.yaml")
    query = injection_query(injector, PROBE_NAMESPACE, decision, template)
    answer = (await ask_injector(cluster, injector, [query]))[query.key]
    if answer.source == "injector" and answer.image:
        return Check(name, ok=True, message=f"revision {decision.revision} answers: {answer.image}")
    if answer.source == "configmap":
        message = f"revision {decision.revision} is not reachable from here; its proxy is computed: {answer.image}"
        remedy = "Outside the cluster there is nothing to do. Inside, allow the connection with a NetworkPolicy."
        return Check(name, ok=True, message=message, remedy=remedy)
    remedy = "See: kubectl -n istio-system get pods -l app=istiod"
    return Check(name, ok=False, message=answer.problem or "no answer", remedy=remedy)


async def _hold(cluster: ClusterClient) -> Check:
    places = {
        "the policy": f"{_ADMISSION}/validatingadmissionpolicies/{HOLD_POLICY}",
        "the binding": f"{_ADMISSION}/validatingadmissionpolicybindings/{HOLD_POLICY}",
        f"Deployment {HOME_NAMESPACE}/{HOLD_PROBE_DEPLOYMENT}": path(
            "Deployment", HOME_NAMESPACE, HOLD_PROBE_DEPLOYMENT
        ),
    }
    missing = [name for name, place in places.items() if await cluster.find(place, msgspec.Raw) is None]
    if missing:
        message = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        return Check("hold", ok=False, message=message, remedy="Run: kubectl apply --server-side -f deploy/hold.yaml")
    return Check("hold", ok=True, message="the policy is installed")
