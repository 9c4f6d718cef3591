"""Kubernetes objects as small frozen structs: exactly the fields that some rule reads.

msgspec skips everything else while decoding, so a Pod of 25 kB costs a few hundred bytes. Field names follow the
API (camelCase on the wire). Every field has a default: an object in a cluster may lack any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from mesh.k8s.selectors import LabelSelector
from mesh.k8s.workload_ref import WorkloadRef
from mesh.wellknown import PROXY_CONTAINER


class _Object(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """Settings of every struct in this module. `gc=False`: snapshots hold no reference cycles."""


class OwnerReference(_Object, frozen=True):
    """One entry of `metadata.ownerReferences`."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(_Object, frozen=True):
    """`ObjectMeta`."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    def label(self, name: str) -> str | None:
        """Returns the value of a label, None when it is absent."""
        return (self.labels or {}).get(name)

    def annotation(self, name: str) -> str | None:
        """Returns the value of an annotation, None when it is absent."""
        return (self.annotations or {}).get(name)

    def controller(self) -> OwnerReference | None:
        """Returns the owner that manages this object, None for a standalone one."""
        for reference in self.owner_references or ():
            if reference.controller:
                return reference
        return None


class Resources(_Object, frozen=True):
    """Quantities by resource, as text: `{"cpu": "100m"}`."""

    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(_Object, frozen=True):
    """Name, image, resources; `restart_policy` is `Always` for native sidecars."""

    name: str = ""
    image: str = ""
    restart_policy: str | None = None
    resources: Resources | None = None


class SecretReference(_Object, frozen=True):
    """`LocalObjectReference` of a Secret."""

    name: str = ""


class PodSpec(_Object, frozen=True):
    """The part of a Pod's spec that its proxy depends on, and that tells why the Pod does not run.

    `raw` is the whole spec as JSON, kept where an injection template may read any field (see mesh.k8s.raw_spec).
    """

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] | None = None
    host_network: bool = False
    service_account_name: str = ""
    node_name: str = ""
    image_pull_secrets: tuple[SecretReference, ...] | None = None
    raw: str | None = None

    def proxies(self) -> tuple[Container, ...]:
        """Returns the containers named `istio-proxy`, native sidecars included."""
        return tuple([one for one in (*self.containers, *(self.init_containers or ())) if one.name == PROXY_CONTAINER])


class ContainerState(_Object, frozen=True):
    """Why a container waits or ended."""

    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None


class ContainerStates(_Object, frozen=True):
    """The state of a container: exactly one field is set."""

    waiting: ContainerState | None = None
    running: ContainerState | None = None
    terminated: ContainerState | None = None


class ContainerStatus(_Object, frozen=True):
    """One entry of `status.containerStatuses`."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    state: ContainerStates | None = None
    last_state: ContainerStates | None = None


class Condition(_Object, frozen=True):
    """One entry of `status.conditions`, of any kind."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class PodStatus(_Object, frozen=True):
    """`status` of a Pod, as the kubelet and the scheduler write it."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class Pod(_Object, frozen=True):
    """A Pod."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, name: str) -> Condition | None:
        """Returns the condition of that type, None when there is none."""
        # A loop: this is called several times for every Pod, and a generator takes twice as long.
        for condition in self.status.conditions or ():
            if condition.type == name:
                return condition
        return None

    @property
    def ready(self) -> bool:
        """Whether the condition Ready is True."""
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"


class PodTemplate(_Object, frozen=True):
    """`PodTemplateSpec`, as far as an injector reads it."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class RollingUpdate(_Object, frozen=True):
    """Values may be numbers or percentages, as the API takes them."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    partition: int | None = None


class Strategy(_Object, frozen=True):
    """`strategy` of Deployments, `updateStrategy` of StatefulSets and DaemonSets."""

    type: str = ""
    rolling_update: RollingUpdate | None = None


class JobTemplate(_Object, frozen=True):
    """`spec.jobTemplate` of a CronJob."""

    class Spec(_Object, frozen=True):
        """`spec` of a Job template."""

        template: PodTemplate = PodTemplate()

    spec: Spec = Spec()


class WorkloadReference(_Object, frozen=True):
    """`spec.workloadRef` of an Argo Rollout: the workload of its namespace whose Pod template it takes."""

    kind: str = ""
    name: str = ""


class WorkloadSpec(_Object, frozen=True):
    """The fields of the specs of all kinds that are read. The last two are an Argo Rollout's."""

    replicas: int | None = None
    paused: bool = False
    # ReplicationController has a plain map here, and it is not read.
    selector: Any = None
    template: PodTemplate | None = None
    job_template: JobTemplate | None = None
    strategy: Strategy | None = None
    update_strategy: Strategy | None = None
    restart_at: str | None = None
    workload_ref: WorkloadReference | None = None


class PauseCondition(_Object, frozen=True):
    """One entry of `status.pauseConditions` of an Argo Rollout: why its controller waits for a person or a time."""

    reason: str = ""


class WorkloadStatus(_Object, frozen=True):
    """The fields of the statuses of all kinds that are read; those that a kind lacks stay 0.

    The fields from `phase` on are an Argo Rollout's, which writes generations as text.
    """

    observed_generation: int | str = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_ready: int = 0
    active: int = 0
    completion_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = None
    phase: str = ""
    message: str = ""
    restarted_at: str | None = None
    workload_observed_generation: str = ""
    current_pod_hash: str = ""
    stable_rs: str = msgspec.field(default="", name="stableRS")
    pause_conditions: tuple[PauseCondition, ...] | None = None

    def condition(self, name: str) -> Condition | None:
        """Returns the condition of that type, None when there is none."""
        return next((condition for condition in self.conditions or () if condition.type == name), None)


class Workload(_Object, frozen=True):
    """A controller of Pods. Its `kind` is set by the reader of a list: the items of lists have none."""

    kind: str = ""
    metadata: Metadata = Metadata()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    @property
    def ref(self) -> WorkloadRef:
        """The workload's identity within its cluster."""
        return WorkloadRef(self.metadata.namespace, self.kind, self.metadata.name)

    @property
    def template(self) -> PodTemplate | None:
        """The template from which its Pods are created."""
        if self.spec.job_template is not None:
            return self.spec.job_template.spec.template
        return self.spec.template

    @property
    def label_selector(self) -> LabelSelector:
        """The selector of its Pods."""
        if self.kind == "ReplicationController":
            return LabelSelector(match_labels=self.spec.selector or {})
        return msgspec.convert(self.spec.selector or {}, LabelSelector)


class Namespace(_Object, frozen=True):
    """A Kubernetes namespace."""

    metadata: Metadata = Metadata()


class DisruptionBudgetSpec(_Object, frozen=True):
    """`spec` of a PodDisruptionBudget. Without a selector it selects nothing, with an empty one everything."""

    selector: LabelSelector | None = None


class DisruptionBudgetStatus(_Object, frozen=True):
    """`status` of a PodDisruptionBudget: counts of Pods by the disruption controller."""

    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    disruptions_allowed: int = 0


class DisruptionBudget(_Object, frozen=True):
    """A PodDisruptionBudget."""

    metadata: Metadata = Metadata()
    spec: DisruptionBudgetSpec = DisruptionBudgetSpec()
    status: DisruptionBudgetStatus = DisruptionBudgetStatus()

    def selects(self, pods: Iterable[Pod]) -> bool:
        """Whether the budget selects one of these Pods, which are of its namespace."""
        selector = self.spec.selector
        return selector is not None and any(selector.matches(pod.metadata.labels or {}) for pod in pods)


class ServiceReference(_Object, frozen=True):
    """The Service that serves a webhook."""

    name: str = ""
    namespace: str = ""
    path: str = ""
    port: int = 443


class ClientConfig(_Object, frozen=True):
    """How the API server reaches a webhook; `ca_bundle` is base64."""

    service: ServiceReference | None = None
    url: str | None = None
    ca_bundle: str = ""


class Webhook(_Object, frozen=True):
    """One webhook of a MutatingWebhookConfiguration."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()
    namespace_selector: LabelSelector = LabelSelector()
    object_selector: LabelSelector = LabelSelector()


class WebhookConfiguration(_Object, frozen=True):
    """A MutatingWebhookConfiguration."""

    metadata: Metadata = Metadata()
    webhooks: tuple[Webhook, ...] | None = None


class ConfigMap(_Object, frozen=True):
    """A ConfigMap's text data."""

    metadata: Metadata = Metadata()
    data: dict[str, str] | None = None
