"""Pods and workloads that keep their Pod spec as the API has it.

Istio's own injection templates read few fields of a Pod. An edited template may read any field, and then the injector
must be given all of them.
"""

from __future__ import annotations

import msgspec

from mesh.k8s.objects import (
    JobTemplate,
    Metadata,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplate,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)

_EMPTY = msgspec.Raw(b"{}")


class RawObject(msgspec.Struct, frozen=True, gc=False):
    """A Pod or a workload of any kind whose spec and status are not decoded yet."""

    metadata: Metadata = Metadata()
    spec: msgspec.Raw = _EMPTY
    status: msgspec.Raw = _EMPTY


class _Template(msgspec.Struct, frozen=True):
    spec: msgspec.Raw = _EMPTY


class _Job(msgspec.Struct, frozen=True):
    spec: _Templates


class _Templates(msgspec.Struct, frozen=True, rename="camel"):
    """The places in a workload's spec that hold the spec of its Pods."""

    template: _Template | None = None
    job_template: _Job | None = None


def pod_with_raw_spec(pod: RawObject) -> Pod:
    """Decodes a Pod, and keeps its spec as JSON."""
    status = msgspec.json.decode(pod.status, type=PodStatus)
    spec = _with_raw(msgspec.json.decode(pod.spec, type=PodSpec), pod.spec)
    return Pod(metadata=pod.metadata, spec=spec, status=status)


def workload_with_raw_spec(workload: RawObject, kind: str) -> Workload:
    """Decodes a workload of that kind, and keeps the spec of its Pod template as JSON."""
    spec = msgspec.json.decode(workload.spec, type=WorkloadSpec)
    raw = msgspec.json.decode(workload.spec, type=_Templates)
    if spec.template is not None and raw.template is not None:
        spec = msgspec.structs.replace(spec, template=_template(spec.template, raw.template))
    raw_job = raw.job_template.spec.template if raw.job_template else None
    if spec.job_template is not None and raw_job is not None:
        template = _template(spec.job_template.spec.template, raw_job)
        spec = msgspec.structs.replace(spec, job_template=JobTemplate(spec=JobTemplate.Spec(template=template)))
    status = msgspec.json.decode(workload.status, type=WorkloadStatus)
    return Workload(kind=kind, metadata=workload.metadata, spec=spec, status=status)


def _template(template: PodTemplate, raw: _Template) -> PodTemplate:
    return msgspec.structs.replace(template, spec=_with_raw(template.spec, raw.spec))


def _with_raw(spec: PodSpec, raw: msgspec.Raw) -> PodSpec:
    return msgspec.structs.replace(spec, raw=bytes(raw).decode())
