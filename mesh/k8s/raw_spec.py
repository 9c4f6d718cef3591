"""Pods and workloads that keep their Pod spec as the API has it.

Istio's own injection templates read little of a Pod. One that somebody edited may read any field, and then the injector
must be shown all of them.
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

_NOTHING = msgspec.Raw(b"{}")


class RawObject(msgspec.Struct, frozen=True, gc=False):
    """A Pod or a workload of any kind, not decoded yet."""

    metadata: Metadata = Metadata()
    spec: msgspec.Raw = _NOTHING
    status: msgspec.Raw = _NOTHING


class _Template(msgspec.Struct, frozen=True):
    spec: msgspec.Raw = _NOTHING


class _Job(msgspec.Struct, frozen=True):
    spec: _Templates


class _Templates(msgspec.Struct, frozen=True, rename="camel"):
    """Where a workload's spec holds that of its Pods."""

    template: _Template | None = None
    job_template: _Job | None = None


def pod_with_raw_spec(one: RawObject) -> Pod:
    """The Pod."""
    status = msgspec.json.decode(one.status, type=PodStatus)
    return Pod(metadata=one.metadata, spec=_kept(msgspec.json.decode(one.spec, type=PodSpec), one.spec), status=status)


def workload_with_raw_spec(one: RawObject, kind: str) -> Workload:
    """The workload of that kind."""
    spec = msgspec.json.decode(one.spec, type=WorkloadSpec)
    raw = msgspec.json.decode(one.spec, type=_Templates)
    if spec.template is not None and raw.template is not None:
        spec = msgspec.structs.replace(spec, template=_with(spec.template, raw.template))
    below = raw.job_template.spec.template if raw.job_template else None
    if spec.job_template is not None and below is not None:
        made = JobTemplate(spec=JobTemplate.Spec(template=_with(spec.job_template.spec.template, below)))
        spec = msgspec.structs.replace(spec, job_template=made)
    status = msgspec.json.decode(one.status, type=WorkloadStatus)
    return Workload(kind=kind, metadata=one.metadata, spec=spec, status=status)


def _with(template: PodTemplate, raw: _Template) -> PodTemplate:
    return msgspec.structs.replace(template, spec=_kept(template.spec, raw.spec))


def _kept(spec: PodSpec, raw: msgspec.Raw) -> PodSpec:
    return msgspec.structs.replace(spec, whole=bytes(raw).decode())
