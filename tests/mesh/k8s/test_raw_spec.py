"""Pod specs kept as the API has them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from mesh.k8s.objects import Pod, Workload
from mesh.k8s.raw_spec import RawObject, pod_with_raw_spec, workload_with_raw_spec
from mesh.survey.interning import Interner
from tests.mesh.build import NOW

SPEC = {"containers": [{"name": "app", "image": "app:1"}], "dnsPolicy": "Default", "nodeSelector": {"disk": "fast"}}


def written(spec: dict[str, Any], owner: str | None = None) -> bytes:
    references = [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "o", "controller": True}]
    about = {"name": "one", "namespace": "shop", "uid": "u"} | ({"ownerReferences": references} if owner else {})
    return json.dumps({"metadata": about, "spec": spec, "status": {"phase": "Running"}}).encode()


def read(text: bytes) -> RawObject:
    return msgspec.json.decode(text, type=RawObject)


def test_pod_is_as_it_is_decoded_otherwise_and_keeps_its_spec() -> None:
    text = written(SPEC)
    found = pod_with_raw_spec(read(text))

    assert json.loads(found.spec.raw or "") == SPEC
    assert msgspec.structs.replace(found, spec=msgspec.structs.replace(found.spec, raw=None)) == msgspec.json.decode(
        text, type=Pod
    )


def test_workload_keeps_the_spec_of_its_template() -> None:
    text = written({"replicas": 2, "template": {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}})
    found = workload_with_raw_spec(read(text), "Deployment")
    plain = msgspec.json.decode(text, type=Workload)

    assert found.template is not None
    assert plain.template is not None
    assert json.loads(found.template.spec.raw or "") == SPEC
    assert found.template.metadata == plain.template.metadata
    assert (found.kind, found.spec.replicas, found.metadata) == ("Deployment", 2, plain.metadata)


def test_cron_job_keeps_the_spec_of_its_jobs_pods() -> None:
    found = workload_with_raw_spec(read(written({"jobTemplate": {"spec": {"template": {"spec": SPEC}}}})), "CronJob")

    assert found.template is not None
    assert json.loads(found.template.spec.raw or "") == SPEC


def test_workload_without_template_is_read() -> None:
    assert workload_with_raw_spec(read(b"{}"), "Deployment").template is None


def test_compact_pod_keeps_its_spec_only_where_it_is_its_own_template() -> None:
    pool = Interner(NOW)
    alone, owned, foreign = (
        pool.pod(pod_with_raw_spec(read(written(SPEC, owner)))).spec.raw for owner in (None, "ReplicaSet", "Machine")
    )

    assert (alone is None, owned is None, foreign is None) == (False, True, False)
