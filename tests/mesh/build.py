"""Clusters in a few words: every builder makes something ordinary and healthy by default."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import settings

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injection import Injector, injection_webhooks
from mesh.istio.injector_config import InjectorConfig, injector_config
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import (
    Condition,
    ConfigMap,
    Container,
    ContainerState,
    ContainerStates,
    ContainerStatus,
    DisruptionBudget,
    DisruptionBudgetSpec,
    DisruptionBudgetStatus,
    JobTemplate,
    Metadata,
    Namespace,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplate,
    RollingUpdate,
    SecretReference,
    Strategy,
    WebhookConfiguration,
    Workload,
    WorkloadReference,
    WorkloadSpec,
    WorkloadStatus,
)
from mesh.k8s.owners import workloads_by_uid
from mesh.k8s.selectors import LabelSelector
from mesh.survey.actions import Action
from mesh.survey.builder import SurveyBuilder
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import NO_UPGRADE, ClusterSnapshot, UpgradeContext
from mesh.survey.survey import Survey, SurveyedWorkload
from mesh.wellknown import PROXY_IMAGE, RESTARTED_AT, SIDECAR_STATUS

NOW = datetime(2026, 9, 5, 12, tzinfo=UTC)
OLD, NEW = "hub/proxyv2:1.29.3", "hub/proxyv2:1.30.2"
APP = Container(name="app", image="app:1")
#: `sidecar.istio.io/status` as Istio writes it.
STATUS = '{"initContainers":["istio-validation","istio-proxy"],"containers":null,"revision":"default"}'

Labels = Mapping[str, str] | None

#: For property tests: enough tries to find what matters, few enough to stay quick.
few_examples = settings(max_examples=100, deadline=None)


def pod(
    name: str = "cart-1",
    *,
    owner: Workload | OwnerReference | None = None,
    namespace: str = "shop",
    proxy: str | None = OLD,
    native: bool = True,
    injected: bool = True,
    phase: str = "Running",
    ready: str | None = "True",
    labels: Labels = None,
    annotations: Labels = None,
    age: timedelta = timedelta(days=1),
    deleted: timedelta | None = None,
    finalizers: tuple[str, ...] = (),
    node: str = "n1",
    secrets: tuple[str, ...] = (),
    status_text: tuple[str, str] = ("", ""),
    conditions: tuple[Condition, ...] = (),
    statuses: tuple[ContainerStatus, ...] = (),
) -> Pod:
    """An injected, running, Ready Pod. `deleted`: time since its deletion; `status_text`: reason and message."""
    references = () if owner is None else (owner if isinstance(owner, OwnerReference) else reference(owner),)
    proxies = () if proxy is None else (Container(name="istio-proxy", image=proxy),)
    marks = {SIDECAR_STATUS: STATUS} if proxy is not None and injected else {}
    if ready is not None:
        conditions = (Condition(type="Ready", status=ready), *conditions)
    return Pod(
        metadata=Metadata(
            name=name,
            namespace=namespace,
            uid=f"pod/{namespace}/{name}",
            labels={"app": "cart"} | dict(labels or {}),
            annotations=marks | dict(annotations or {}),
            creation_timestamp=NOW - age,
            deletion_timestamp=None if deleted is None else NOW - deleted,
            finalizers=finalizers,
            owner_references=references,
        ),
        spec=PodSpec(
            containers=(APP,) if native else (APP, *proxies),
            init_containers=proxies if native else None,
            node_name=node,
            image_pull_secrets=tuple(SecretReference(name=one) for one in secrets),
        ),
        status=PodStatus(
            phase=phase,
            reason=status_text[0],
            message=status_text[1],
            conditions=conditions,
            container_statuses=statuses,
        ),
    )


def reference(owner: Workload) -> OwnerReference:
    """As the owner's controller writes it into what it makes."""
    kind, name, uid = owner.kind.partition(".")[0], owner.metadata.name, owner.metadata.uid
    return OwnerReference(api_version=_API.get(owner.kind, "apps/v1"), kind=kind, name=name, uid=uid, controller=True)


_API = {
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "ReplicationController": "v1",
    ARGO_ROLLOUT: "argoproj.io/v1alpha1",
}


def custom_owner(
    kind: str = "CloneSet", api_version: str = "apps.kruise.io/v1alpha1", name: str = "cart"
) -> OwnerReference:
    """A controller of a kind that is not read."""
    return OwnerReference(api_version=api_version, kind=kind, name=name, uid=f"{kind}/{name}", controller=True)


def template(labels: Labels = None, annotations: Labels = None, *, host_network: bool = False) -> PodTemplate:
    """A Pod template of one container."""
    return PodTemplate(
        metadata=Metadata(labels=dict(labels or {}), annotations=dict(annotations or {})),
        spec=PodSpec(containers=(APP,), host_network=host_network),
    )


def workload(
    kind: str = "Deployment",
    name: str = "cart",
    *,
    namespace: str = "shop",
    owner: Workload | OwnerReference | None = None,
    replicas: int = 2,
    ready: int | None = None,
    labels: Labels = None,
    annotations: Labels = None,
    made_from: PodTemplate | None = None,
    mark: datetime | None = None,
    paused: bool = False,
    strategy: Strategy | None = None,
    lender: WorkloadReference | None = None,
    status: Mapping[str, Any] | None = None,
) -> Workload:
    """A workload whose last rollout is complete. `status` overrides single fields of it.

    `lender` is whose template an Argo Rollout takes; it has none of its own then.
    """
    pods = made_from or template({"app": name})
    argo = kind == ARGO_ROLLOUT
    restart = mark.strftime("%Y-%m-%dT%H:%M:%SZ") if argo and mark is not None else None
    if mark is not None and not argo:
        marked = dict(pods.metadata.annotations or {}) | {RESTARTED_AT: mark.strftime("%Y-%m-%dT%H:%M:%SZ")}
        pods = msgspec.structs.replace(pods, metadata=msgspec.structs.replace(pods.metadata, annotations=marked))
    references = () if owner is None else (owner if isinstance(owner, OwnerReference) else reference(owner),)
    cron = kind == "CronJob"
    return Workload(
        kind=kind,
        metadata=Metadata(
            name=name,
            namespace=namespace,
            uid=f"{kind}/{namespace}/{name}",
            generation=1,
            labels=dict(labels or {}),
            annotations=dict(annotations or {}),
            owner_references=references,
        ),
        spec=WorkloadSpec(
            replicas=replicas,
            paused=paused,
            template=None if cron or lender is not None else pods,
            job_template=JobTemplate(spec=JobTemplate.Spec(template=pods)) if cron else None,
            strategy=strategy if kind == "Deployment" else None,
            update_strategy=None if kind == "Deployment" else strategy,
            restart_at=restart,
            workload_ref=lender,
        ),
        status=_status(
            kind,
            replicas,
            replicas if ready is None else ready,
            ({"restarted_at": restart} if restart else {}) | dict(status or {}),
        ),
    )


def _status(kind: str, replicas: int, ready: int, changes: Mapping[str, Any]) -> WorkloadStatus:
    fields: dict[str, Any]
    if kind == "DaemonSet":
        fields = {"desired_number_scheduled": replicas, "updated_number_scheduled": replicas}
        fields |= {"current_number_scheduled": replicas, "number_available": ready, "number_ready": ready}
    elif kind in ("Job", "CronJob"):
        fields = {}
    else:
        fields = {"replicas": replicas, "ready_replicas": ready, "available_replicas": ready}
        if kind in ("Deployment", "StatefulSet"):
            fields["updated_replicas"] = replicas
        elif kind == ARGO_ROLLOUT:
            fields |= {"observed_generation": "1", "updated_replicas": replicas, "phase": "Healthy"}
            fields |= {"stable_rs": "9f1", "current_pod_hash": "9f1"}
    return WorkloadStatus(**({"observed_generation": 1} | fields | dict(changes)))


def strategy(
    kind: str = "RollingUpdate",
    unavailable: int | str | None = None,
    surge: int | str | None = None,
    partition: int | None = None,
) -> Strategy:
    """An update strategy."""
    return Strategy(
        type=kind, rolling_update=RollingUpdate(max_unavailable=unavailable, max_surge=surge, partition=partition)
    )


def waiting(
    reason: str, message: str = "", *, name: str = "app", ended: ContainerState | None = None
) -> ContainerStatus:
    """A container that waits; `ended` is how it ended the last time."""
    state = ContainerStates(waiting=ContainerState(reason=reason, message=message))
    return ContainerStatus(name=name, restart_count=7, state=state, last_state=ContainerStates(terminated=ended))


def budget(desired: int, expected: int, *, selects: Labels = None, namespace: str = "shop") -> DisruptionBudget:
    """A PodDisruptionBudget that wants `desired` of `expected` Pods healthy."""
    return DisruptionBudget(
        metadata=Metadata(name="cart-budget", namespace=namespace),
        spec=DisruptionBudgetSpec(selector=LabelSelector(match_labels=dict(selects or {"app": "cart"}))),
        status=DisruptionBudgetStatus(desired_healthy=desired, expected_pods=expected, current_healthy=expected),
    )


def make_namespace(name: str = "shop", labels: Labels = None, annotations: Labels = None) -> Namespace:
    """A namespace; labelled for injection unless other labels are given."""
    marks = {"istio-injection": "enabled"} if labels is None else dict(labels)
    return Namespace(
        metadata=Metadata(
            name=name,
            labels={"kubernetes.io/metadata.name": name} | marks,
            annotations=dict(annotations or {}),
        )
    )


# The injector, as Istio's charts install it (istio/istio, manifests/charts/istio-control/istio-discovery/templates,
# mutatingwebhook.yaml and revision-tags-mwc.yaml).


def webhooks(
    selects: str = "default", *, revision: str | None = None, auto: bool = False, deactivated: bool = False
) -> WebhookConfiguration:
    """The webhooks of a revision; with another `revision`, those of the tag `selects` that points to it."""
    real = revision or selects
    tag = "-" + selects if selects != "default" else ""
    name = f"istio-revision-tag-{selects}" if revision else f"istio-sidecar-injector{tag}"
    service = {
        "name": f"istiod-{real}" if real != "default" else "istiod",
        "namespace": "istio-system",
        "path": "/inject",
    }
    hooks = [
        {
            "name": f"{prefix}sidecar-injector.istio.io",
            "clientConfig": {"service": service, "caBundle": ""},
            "namespaceSelector": _NEVER_MATCH if deactivated else {"matchExpressions": spaces},
            "objectSelector": _NEVER_MATCH if deactivated else {"matchExpressions": pods},
        }
        for prefix, spaces, pods in _selectors(selects, auto=auto)
    ]
    labels = {"app": "sidecar-injector", "istio.io/rev": real} | ({"istio.io/tag": selects} if revision else {})
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "webhooks": hooks}, WebhookConfiguration)


_NEVER_MATCH = {"matchLabels": {"istio.io/deactivated": "never-match"}}


def _selectors(selects: str, *, auto: bool) -> list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
    enabled, revision, inject = "istio-injection", "istio.io/rev", "sidecar.istio.io/inject"
    unlabelled = [_absent(enabled), _absent(revision)]
    not_refused = _where(inject, "NotIn", "false")
    found = [
        ("rev.namespace.", [_where(revision, "In", selects), _absent(enabled)], [not_refused]),
        ("rev.object.", unlabelled, [not_refused, _where(revision, "In", selects)]),
    ]
    if selects == "default":
        found += [
            ("namespace.", [_where(enabled, "In", "enabled")], [not_refused]),
            ("object.", unlabelled, [_where(inject, "In", "true"), _absent(revision)]),
        ]
    if selects == "default" and auto:
        ignored = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
        spaces = [*unlabelled, _where("kubernetes.io/metadata.name", "NotIn", *ignored)]
        found.append(("auto.", spaces, [_absent(inject), _absent(revision)]))
    return found


def _where(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": values}


def _absent(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "DoesNotExist"}


#: A sidecar template whose image depends on nothing of the Pod.
TEMPLATES = 'templates: {sidecar: "image: {{ .ProxyImage }}"}'


def config_map(config: str = "policy: enabled", values: str = "{}", revision: str = "default") -> ConfigMap:
    """A revision's ConfigMap, its two texts as given."""
    name = "istio-sidecar-injector" if revision == "default" else f"istio-sidecar-injector-{revision}"
    metadata = Metadata(name=name, labels={"istio.io/rev": revision})
    return ConfigMap(metadata=metadata, data={"config": f"{config}\n{TEMPLATES}", "values": values})


def injector(*configurations: WebhookConfiguration, configs: tuple[InjectorConfig, ...] | None = None) -> Injector:
    """An injector of these webhooks: revision `default` at the new version by default."""
    if configs is None:
        configs = (injector_config(config_map(values='{"global": {"hub": "hub", "tag": "1.30.2"}}')),)
    hooks = injection_webhooks(configurations or (webhooks(),))
    return Injector(hooks, {one.revision: one for one in configs})


# Surveys.


def make_snapshot(
    *things: Pod | Workload | Namespace | DisruptionBudget, by: Injector | None = None, events: Labels = None
) -> ClusterSnapshot:
    """A cluster of these things; namespaces of Pods that are not among them are there, and labelled for injection.

    `events` are the latest warnings about Pods, by the Pods' names.
    """
    pods = tuple(one for one in things if isinstance(one, Pod))
    spaces = {one.metadata.namespace: make_namespace(one.metadata.namespace) for one in pods}
    spaces |= {one.metadata.name: one for one in things if isinstance(one, Namespace)}
    messages = events or {}
    return ClusterSnapshot(
        taken_at=NOW,
        resource_version="42",
        namespaces=spaces,
        pods=pods,
        owners=workloads_by_uid(one for one in things if isinstance(one, Workload)),
        injector=by or injector(),
        budgets=tuple(one for one in things if isinstance(one, DisruptionBudget)),
        pod_events={one.metadata.uid: messages[one.metadata.name] for one in pods if one.metadata.name in messages},
    )


def survey(
    snapshot: ClusterSnapshot, context: UpgradeContext = NO_UPGRADE, expected: ExpectedProxy | None = None
) -> Survey:
    """The survey of a cluster whose injector gives `expected` to every template, else the new proxy, or its pin."""
    builder = SurveyBuilder(snapshot)
    answers = {
        query.key: expected or ExpectedProxy(query.template.metadata.annotation(PROXY_IMAGE) or NEW, "injector")
        for query in builder.queries
    }
    return builder.survey(answers, context)


def surveyed(
    *things: Pod | Workload | Namespace | DisruptionBudget,
    by: Injector | None = None,
    context: UpgradeContext = NO_UPGRADE,
    expected: ExpectedProxy | None = None,
    events: Labels = None,
) -> SurveyedWorkload:
    """What the survey says of the only workload among these things."""
    (found,) = survey(make_snapshot(*things, by=by, events=events), context, expected).workloads
    return found


def verdict(workload: SurveyedWorkload) -> tuple[Action, Reason | None]:
    """What is done with a surveyed workload, and why not."""
    return workload.action, workload.reason
