"""Reads one workload as the API server has it at this moment: itself, its Pods, and who wrote it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import path
from mesh.k8s.kinds import TEMPLATE_KINDS
from mesh.k8s.objects import Pod, Workload
from mesh.k8s.owners import with_template_of
from mesh.k8s.raw_spec import RawObject, workload_with_raw_spec
from mesh.k8s.workload_ref import WorkloadRef
from mesh.wellknown import FIELD_MANAGER


class _ManagedFieldsEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of `metadata.managedFields`."""

    manager: str = ""
    subresource: str = ""
    time: datetime | None = None


class _ManagedObject(msgspec.Struct, frozen=True):
    """An object of any kind, the field of it that says who writes it."""

    class Metadata(msgspec.Struct, frozen=True, rename="camel"):
        """Its `metadata`."""

        managed_fields: tuple[_ManagedFieldsEntry, ...] = ()

    metadata: Metadata = Metadata()


async def read_workload(cluster: ClusterClient, ref: WorkloadRef) -> Workload:
    """Reads one workload, an Argo Rollout with the template that it takes.

    Raises:
        NotFoundError: it does not exist.
    """
    workload = workload_with_raw_spec(await cluster.get(path(ref.kind, ref.namespace, ref.name), RawObject), ref.kind)
    reference = workload.spec.workload_ref
    if reference is None or reference.kind not in TEMPLATE_KINDS:
        return workload
    lender = await cluster.find(path(reference.kind, ref.namespace, reference.name), RawObject)
    return workload if lender is None else with_template_of(workload, workload_with_raw_spec(lender, reference.kind))


async def read_pods(cluster: ClusterClient, workload: Workload) -> list[Pod]:
    """Reads the Pods that the workload's selector selects; another workload's may be among them."""
    query = {"labelSelector": workload.label_selector.query()}
    pods, _ = await cluster.list_all(path("Pod", workload.metadata.namespace), Pod, query)
    return pods


async def read_last_writer(cluster: ClusterClient, location: str, since: datetime) -> str:
    """Reads which field manager but this service wrote the spec of an object last since then, as words for a sentence.

    Removing a field leaves no trace of itself (structured-merge-diff, merge/update.go): then all that can be said is
    who else manages the object.
    """
    entries = (await cluster.get(location, _ManagedObject)).metadata.managed_fields
    others = [entry for entry in entries if not entry.subresource and entry.manager != FIELD_MANAGER]
    written = [(entry.time, entry.manager) for entry in others if entry.time is not None and entry.time >= since]
    if written:
        return max(written)[1]
    names = ", ".join(sorted({entry.manager for entry in others}))
    return f"an unknown writer; its field managers are {names}" if names else "an unknown writer"


def with_kind(workload: Workload, kind: str) -> Workload:
    """Returns the workload with its kind, which items of a list lack."""
    return msgspec.structs.replace(workload, kind=kind)
