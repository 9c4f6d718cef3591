"""Judging compact objects gives what judging the whole ones gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
from hypothesis import given

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Pod
from mesh.survey.interning import Interner
from mesh.survey.snapshot import UpgradeContext
from tests.mesh.build import NEW, NOW, few_examples, pod, survey, waiting, workload
from tests.mesh.survey.test_survey import CONTEXTS, OWNERS, PODS, seen


@few_examples
@given(PODS, CONTEXTS)
def test_survey_of_compact_objects_is_the_same(pods: list[Pod], context: UpgradeContext) -> None:
    whole, pool = seen(pods), Interner(NOW)
    compact = replace(
        whole,
        pods=tuple(pool.pod(one) for one in whole.pods),
        owners={uid: pool.workload(one) for uid, one in whole.owners.items()},
    )

    assert survey(compact, context) == survey(whole, context)


def test_pods_of_one_workload_share_everything_but_their_names() -> None:
    pool = Interner(NOW)
    one, other = (pool.pod(pod(name, owner=OWNERS[1], proxy=NEW)) for name in ("a", "b"))

    assert one.spec is other.spec
    assert one.status is other.status
    assert one.metadata.labels is other.metadata.labels
    assert one.metadata.annotations is other.metadata.annotations


def test_pod_in_trouble_keeps_its_status() -> None:
    ill = pod(owner=OWNERS[1], ready="False", statuses=(waiting("CrashLoopBackOff", "x"),))

    assert Interner(NOW).pod(ill).status == ill.status


def test_only_of_pods_in_trouble_node_and_secrets_are_kept() -> None:
    ill = pod(owner=OWNERS[1], ready="False", secrets=("pull",)).spec
    leaving = pod(owner=OWNERS[1], deleted=timedelta(0), finalizers=("example.com/hold",))

    assert Interner(NOW).pod(pod(owner=OWNERS[1], ready="False", secrets=("pull",))).spec == ill
    assert Interner(NOW).pod(pod(owner=OWNERS[1], secrets=("pull",))).spec == Interner(NOW).pod(pod(node="n2")).spec
    assert Interner(NOW).pod(leaving).spec.node_name == "n1"
    assert Interner(NOW).pod(leaving).metadata.finalizers == ("example.com/hold",)
    assert Interner(NOW).pod(pod(finalizers=("example.com/hold",))).metadata.finalizers is None


def test_replica_set_of_an_argo_rollout_keeps_its_template_while_it_has_pods() -> None:
    rollout = workload(ARGO_ROLLOUT)
    pool = Interner(NOW)

    assert pool.workload(workload("ReplicaSet", "cart-9f1", owner=rollout)).template is not None
    assert pool.workload(workload("ReplicaSet", "cart-7d4", owner=rollout, replicas=0)).template is None
    assert pool.workload(workload("ReplicaSet", "lender", replicas=0)).template is not None


def test_link_keeps_identity_and_owner_only() -> None:
    between = workload("ReplicaSet", "cart-1", owner=workload("Deployment", "cart"))

    link = Interner(NOW).link(between)

    about = between.metadata
    assert (link.kind, link.metadata.name, link.metadata.uid) == ("ReplicaSet", about.name, about.uid)
    assert (link.metadata.namespace, link.metadata.controller()) == (about.namespace, about.controller())
    assert link.template is None


def test_annotations_of_network_plug_ins_are_left_out_unless_the_pod_is_its_own_template() -> None:
    noted = {"cni.example.com/ip": "10.0.0.1", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    owned = Interner(NOW).pod(pod(owner=OWNERS[1], annotations=noted)).metadata.annotations or {}
    alone = Interner(NOW).pod(pod(annotations=noted)).metadata.annotations or {}

    assert set(owned) == {"sidecar.istio.io/status"}
    assert set(alone) == {"sidecar.istio.io/status", "cni.example.com/ip"}


def test_compact_pod_is_small() -> None:
    whole = pod(owner=OWNERS[1], proxy=NEW)

    assert len(msgspec.json.encode(Interner(NOW).pod(whole))) <= len(msgspec.json.encode(whole))
