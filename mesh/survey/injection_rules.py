"""Rules about injection: Pods that a restart would harm, or would not help."""

from __future__ import annotations

from collections.abc import Callable

from mesh.istio.images import parse_image
from mesh.survey.assessment import Assessment
from mesh.survey.pod_class import PodClass, is_excluded, live_proxy
from mesh.survey.reasons import Cause, Reason
from mesh.text import one_line
from mesh.wellknown import REVISION


def would_lose_sidecar(assessment: Assessment) -> Cause | None:
    """New Pods would get no sidecar."""
    if assessment.pod_class is not PodClass.ORPHANED:
        return None
    why = "the injector adds none" if assessment.expected.is_refused else assessment.decision.reason
    return Cause(Reason.WOULD_LOSE_SIDECAR, one_line(f"would get no sidecar: {why}"))


def unknown_revision(assessment: Assessment) -> Cause | None:
    """The webhook that selects the Pods belongs to a revision without an injector."""
    revision, snapshot = assessment.decision.revision, assessment.snapshot
    if assessment.pod_class is not PodClass.UNKNOWN or assessment.expected.image is not None:
        return None
    if revision is None or revision in snapshot.injector.configs or snapshot.problems:
        return None
    problem = _problem(assessment)
    return Cause(
        Reason.UNKNOWN_REVISION,
        one_line(f"a webhook selects its Pods for revision {revision}, which has no injector: {problem}"),
    )


def unknown_proxy(assessment: Assessment) -> Cause | None:
    """It is not known which proxy new Pods would get, or whether that proxy runs."""
    if assessment.pod_class is not PodClass.UNKNOWN:
        return None
    pod, image = assessment.classified_pods[0], assessment.expected.image
    if image is None:
        proxy = live_proxy(pod) or "its proxy"
        detail = f"the proxy that would replace {proxy} is unknown: {_problem(assessment)}"
        return Cause(Reason.UNKNOWN_PROXY, one_line(detail))
    namespace, name = pod.metadata.namespace, pod.metadata.name
    why = assessment.connected.why_unknown(namespace, name, assessment.decision.revision or "")
    # Without the repository: that is long, and the cause comes last.
    tag = parse_image(image).tag or "latest"
    return Cause(Reason.UNKNOWN_PROXY, one_line(f"tag {tag} names no version; Pod {name}: {why}"))


def sidecar_missing(assessment: Assessment) -> Cause | None:
    """The Pods have no sidecar, and new ones would get one."""
    if assessment.pod_class is not PodClass.MISSING:
        return None
    return Cause(Reason.SIDECAR_MISSING, "created without a sidecar, would get one now")


#: The first rule that holds names the cause.
INJECTION_RULES: tuple[Callable[[Assessment], Cause | None], ...] = (
    would_lose_sidecar,
    unknown_revision,
    unknown_proxy,
    sidecar_missing,
)


def gateway_not_upgraded(assessment: Assessment) -> Cause | None:
    """A gateway that no injector made does not run its revision's version, though the upgrade has begun restarts.

    The gateway's own owner should have restarted it by then.
    """
    owner, context = assessment.owner, assessment.context
    namespace, injector = assessment.namespace, assessment.snapshot.injector
    if assessment.pod_class is not PodClass.GATEWAY or context.mark is None:
        return None
    if is_excluded(owner, namespace) or owner.namespace in context.exclude_namespaces:
        return None
    revision = owner.template.metadata.label(REVISION) or (namespace.metadata.label(REVISION) if namespace else None)
    config = injector.configs.get(injector.revision_of(revision or "default"))
    wanted = parse_image(config.image).version if config and config.image else None
    for pod in assessment.classified_pods:
        live = parse_image(live_proxy(pod) or "").version
        if wanted is not None and live is not None and live != wanted:
            detail = f"Pod {pod.metadata.name} runs Istio {live}, its revision has {wanted}"
            return Cause(Reason.GATEWAY_NOT_UPGRADED, one_line(detail))
    return None


def _problem(assessment: Assessment) -> str:
    return assessment.expected.problem or "the injector did not answer"
