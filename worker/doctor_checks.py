"""What must be right before an upgrade can succeed, each as one check with what to do when it is not."""

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
from worker.permissions import Permission, needed
from worker.search_attribute_registration import check_attributes, create_command, registered

#: A worker's poll lasts a minute; one that has not polled for longer is gone.
_POLLED_WITHIN = timedelta(seconds=90)
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Check:
    """`remedy` is what to do, empty where nothing is to be done."""

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
    """Search attributes, and who polls the task queues; the cluster's own only if its name is known."""
    checks = [Check("temporal", ok=True, message=f"namespace {client.namespace} answers")]
    checks.append(await _attributes(client))
    checks.append(await _polled(client, TASK_QUEUE, "workflows"))
    if cluster is not None:
        checks.append(await _polled(client, ClusterRef(cluster, "").activity_queue, "activities"))
    return checks


async def _attributes(client: Client) -> Check:
    name = "search-attributes"
    try:
        found = check_attributes(await registered(client))
    except RPCError as error:
        return Check(name, ok=False, message=f"they cannot be read: {error.message}", remedy="Check the namespace.")
    if found.missing or found.wrong:
        keys = (*found.missing, *(key for key, _ in found.wrong))
        told = [f"{key.name} is missing" for key in found.missing]
        told += [f"{key.name} is of type {there}" for key, there in found.wrong]
        remedy = f"Start a worker, which registers them, or run: {create_command(client.namespace, keys)}"
        return Check(name, ok=False, message=", ".join(told), remedy=remedy)
    return Check(name, ok=True, message="all are registered with their types")


async def _polled(client: Client, queue: str, what: str) -> Check:
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
    alive = [one for one in answer.pollers if one.last_access_time.ToDatetime(UTC) > since]
    if not alive:
        return Check(name, ok=False, message=f"nobody polls task queue {queue}", remedy="Run: kyma-upgrade worker")
    return Check(name, ok=True, message=f"{', '.join(sorted(one.identity for one in alive))} polls {queue}")


async def check_cluster(cluster: ClusterClient, ref: ClusterRef) -> list[Check]:
    """Everything in the cluster, with the identity in use."""
    first = Check("cluster", ok=True, message=f"{cluster.host} answers; {ref.name} is {ref.uid}")
    parts = await asyncio.gather(
        _permissions(cluster),
        _told("kyma", _kyma(cluster)),
        _told("istio", _istio(cluster)),
        _told("injector-admission", _probed(cluster)),
        _told("injector-direct", _asked(cluster)),
        _told("hold", _hold(cluster)),
    )
    return [first, *parts[0], *parts[1:]]


async def _told(name: str, check: Awaitable[Check]) -> Check:
    """A check that could not be made is one that failed."""
    try:
        return await check
    except UpgradeError as error:
        return Check(name, ok=False, message=error.message, remedy=error.remedy)


async def _permissions(cluster: ClusterClient) -> list[Check]:
    limit = asyncio.Semaphore(_AT_ONCE)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        who = (await cluster.create(_WHO_AM_I, body, _Identity)).status.user.username
    except UpgradeError:
        who = "this identity"

    async def checked(permission: Permission) -> Check:
        async with limit:
            return await _told(f"permission {permission.words()}", _allowed(cluster, permission, who))

    rollouts = await serves_kind(cluster, ARGO_ROLLOUT)
    return list(await asyncio.gather(*(checked(permission) for permission in needed(rollouts=rollouts))))


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
    remedy = "" if allowed else "Run: kubectl apply -f deploy/rbac.yaml"
    told = f"{who} may" if allowed else f"{who} may not"
    return Check(f"permission {permission.words()}", allowed, told, remedy)


async def _kyma(cluster: ClusterClient) -> Check:
    catalogue = await read_catalogue(cluster)
    kyma = catalogue.kyma
    if kyma.module is None:
        return Check("kyma", ok=False, message="the Kyma CR has no module istio", remedy="Add the module istio.")
    status = kyma.module_status
    told = f"module istio {status.version or 'unknown'} of channel {kyma.channel} is {status.state or 'unknown'}"
    return Check("kyma", ok=True, message=told)


async def _istio(cluster: ClusterClient) -> Check:
    istiods = await read_istiods(cluster)
    if not istiods:
        return Check("istio", ok=False, message="there is no istiod in istio-system", remedy="Install Istio first.")
    told, ready = [], True
    for one in istiods:
        state = rollout(one.workload)
        ready = ready and state.complete
        told.append(f"{one.revision}: {parse_image(one.image).version or one.image}, {state.message}")
    remedy = "" if ready else "Look: kubectl -n istio-system describe deployment -l app=istiod"
    return Check("istio", ready, "; ".join(told), remedy)


async def _probed(cluster: ClusterClient) -> Check:
    """The API server's own path to the injector."""
    image = await probe_injection(cluster)
    if image is None:
        told = f"a new Pod in namespace {PROBE_NAMESPACE} gets no sidecar"
        return Check("injector-admission", ok=False, message=told, remedy="Run: kubectl apply -f deploy/rbac.yaml")
    return Check("injector-admission", ok=True, message=f"a new Pod gets {image}")


async def _asked(cluster: ClusterClient) -> Check:
    """Our own path to the injector; without it plain templates are computed and others are unknown."""
    name = "injector-direct"
    injector = await read_injector(cluster)
    namespace = await cluster.get(f"{NAMESPACES}/{PROBE_NAMESPACE}", Namespace)
    template = PodTemplate(spec=PodSpec(containers=(Container(name="probe", image="pause"),)))
    decision = decide_injection(injector, PROBE_NAMESPACE, namespace.metadata.labels or {}, template)
    if not decision.injected:
        told = f"no injector answers for namespace {PROBE_NAMESPACE}: {decision.reason}"
        return Check(name, ok=False, message=told, remedy="Run: kubectl apply -f deploy/rbac.yaml")
    question = injection_query(injector, PROBE_NAMESPACE, decision, template)
    answer = (await ask_injector(cluster, injector, [question]))[question.key]
    if answer.source == "injector" and answer.image:
        return Check(name, ok=True, message=f"revision {decision.revision} answers {answer.image}")
    if answer.source == "configmap":
        told = f"revision {decision.revision} cannot be asked from here; plain templates are computed: {answer.image}"
        remedy = "Nothing to do on a laptop; in the cluster let a NetworkPolicy allow it."
        return Check(name, ok=True, message=told, remedy=remedy)
    remedy = "Look: kubectl -n istio-system get pods -l app=istiod"
    return Check(name, ok=False, message=answer.problem or "no answer", remedy=remedy)


async def _hold(cluster: ClusterClient) -> Check:
    places = {
        "the policy": f"{_ADMISSION}/validatingadmissionpolicies/{HOLD_POLICY}",
        "its binding": f"{_ADMISSION}/validatingadmissionpolicybindings/{HOLD_POLICY}",
        f"Deployment {HOME_NAMESPACE}/{HOLD_PROBE_DEPLOYMENT}": path(
            "Deployment", HOME_NAMESPACE, HOLD_PROBE_DEPLOYMENT
        ),
    }
    missing = [what for what, place in places.items() if await cluster.find(place, msgspec.Raw) is None]
    if missing:
        told = f"not installed: {', '.join(missing)}"
        return Check("hold", ok=False, message=told, remedy="Run: kubectl apply -f deploy/hold.yaml")
    return Check("hold", ok=True, message="its policy is installed")
