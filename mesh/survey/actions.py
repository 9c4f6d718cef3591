"""What is done with a workload: it is restarted, it needs a person, or nothing is done."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS
from mesh.k8s.objects import Pod
from mesh.survey.assessment import Assessment, first_cause
from mesh.survey.injection_rules import INJECTION_RULES, gateway_not_upgraded
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Cause
from mesh.survey.restart_rules import RESTART_RULES, owner_cause
from mesh.text import one_line


class Action(StrEnum):
    """What is done with a workload."""

    ROLLOUT_RESTART = "rollout-restart"
    EVICT = "evict"
    RESTART_AT = "restart-at"
    REMEDIATE = "remediate"
    NONE = "none"


#: Actions that a wave takes.
RESTARTS = frozenset({Action.ROLLOUT_RESTART, Action.EVICT, Action.RESTART_AT})


def decide_action(assessment: Assessment) -> tuple[Action, Cause | None]:
    """Returns what is done with a workload, and for REMEDIATE why a person is needed.

    A workload that should be restarted is, unless one of RESTART_RULES holds. Of all others, those need a person for
    which one of INJECTION_RULES or the rule for gateways holds.
    """
    if should_restart(assessment):
        cause = first_cause(RESTART_RULES, assessment)
        return (restart_action(assessment.owner.kind), None) if cause is None else (Action.REMEDIATE, cause)
    cause = _after_owner_cause(assessment, first_cause(INJECTION_RULES, assessment)) or gateway_not_upgraded(assessment)
    return (Action.NONE, None) if cause is None else (Action.REMEDIATE, cause)


def should_restart(assessment: Assessment) -> bool:
    """Whether a restart is due: the workload is stale, or its Pods lack a sidecar that they should have.

    They should where the policy says so, or where the upgrade caused the lack: the Pods were created during it.
    """
    if assessment.pod_class is PodClass.MISSING:
        context = assessment.context
        return context.restart_missing or all(_created_since(pod, context.began) for pod in assessment.classified_pods)
    return assessment.pod_class is PodClass.STALE


def restart_action(kind: str) -> Action:
    """Returns the action that restarts a workload of this kind."""
    if kind == ARGO_ROLLOUT:
        return Action.RESTART_AT
    return Action.EVICT if kind in EVICTABLE_KINDS else Action.ROLLOUT_RESTART


def _after_owner_cause(assessment: Assessment, injection: Cause | None) -> Cause | None:
    """Returns the cause with the owner's before it: that remains when injection is fixed."""
    owner = owner_cause(assessment) if injection is not None else None
    if owner is None or injection is None:
        return injection
    detail = f"{owner.detail}; {injection.detail}" if owner.detail else injection.detail
    return Cause(owner.reason, one_line(detail or "") or None)


def _created_since(pod: Pod, began: datetime | None) -> bool:
    created = pod.metadata.creation_timestamp
    return began is not None and created is not None and created >= began
