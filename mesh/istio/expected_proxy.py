"""What is asked of an injector, and what is made of its answers.

One question serves every template that must get the same proxy; where nobody answers, the proxy of a plain template is
computed from the revision's ConfigMaps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mesh.istio.injection import Decision, Injector
from mesh.k8s.objects import Pod, PodTemplate, Resources
from mesh.wellknown import (
    INIT_CONTAINER,
    INJECTION_TEMPLATES,
    PROXY_CONFIG,
    PROXY_IMAGE,
    PROXY_IMAGE_TYPE,
    SIDECAR_STATUS,
    VALIDATION_CONTAINER,
)

#: Annotations that change which image the injector writes; the computed fallback does not cover them.
_SHAPING = (PROXY_IMAGE_TYPE, PROXY_CONFIG, INJECTION_TEMPLATES)
_DOMAIN = "istio.io/"
#: The init container tells how traffic is redirected: by CNI, which only validates, or by the Pod itself.
SETUPS = (VALIDATION_CONTAINER, INIT_CONTAINER)


@dataclass(frozen=True, slots=True)
class InjectionQuery:
    """A template to ask the injector about; `problem` tells why its answer would be worth nothing."""

    key: str
    namespace: str
    decision: Decision
    template: PodTemplate
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A sidecar beyond its image: resources, the container that redirects traffic, the revision that made it."""

    resources: Resources
    setup: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedProxy:
    """What a template would get now: the image, who said so, and what else is known of the sidecar.

    Without an image: `problem` tells why nobody could say; without a problem it would get no sidecar, and `refusal`
    may tell why.
    """

    image: str | None
    source: str | None
    problem: str | None = None
    shape: Shape | None = None
    refusal: str | None = None

    @property
    def words(self) -> str:
        """The image, or why there is none."""
        return self.image or self.problem or self.refusal or "no sidecar"


NO_PROXY = ExpectedProxy(None, None)


def injection_query(injector: Injector, namespace: str, decision: Decision, template: PodTemplate) -> InjectionQuery:
    """The question about a template that would be injected."""
    problem = None
    if template.spec.whole is None and not injector.common(decision.revision):
        problem = "the injection template is edited, and too little is known of what it may read"
    return InjectionQuery(_key(injector, namespace, decision, template), namespace, decision, template, problem)


def _key(injector: Injector, namespace: str, decision: Decision, template: PodTemplate) -> str:
    """Two templates with one key get the same proxy from the injector."""
    about = template.metadata
    labels, annotations = about.labels or {}, about.annotations or {}
    own = [msgspec.to_builtins(one) for one in template.spec.proxies()]
    setups = sorted(one.name for one in template.spec.init_containers or () if one.name in SETUPS)
    parts: list[object] = [decision.revision, own, setups]
    if injector.common(decision.revision):
        # What other tools annotate cannot reach the proxy; Istio's own annotations all carry its domain.
        annotations = {key: value for key, value in annotations.items() if _DOMAIN in key}
        parts.append(sorted(annotations.items()))
        if injector.proxy_configs is not None:
            meant = [one.metadata for one in injector.proxy_configs if one.means(namespace, labels)]
            parts.append(sorted((one.namespace, one.name) for one in meant))
        else:
            parts += [namespace, sorted(labels.items())]
    else:
        parts += [namespace, sorted(labels.items()), sorted(annotations.items()), template.spec.whole]
    return json.dumps(parts)


def computed(injector: Injector, question: InjectionQuery, problem: str) -> ExpectedProxy:
    """From the ConfigMaps alone, for plain templates; where only the injector can tell, why it could not be asked."""
    image = _computed_image(injector, question)
    if image:
        return ExpectedProxy(image, "configmap")
    config = injector.configs.get(question.decision.revision or "")
    return ExpectedProxy(None, None, f"{problem}; {config.problem}" if config and config.problem else problem)


def _computed_image(injector: Injector, question: InjectionQuery) -> str | None:
    template = question.template
    annotations, labels = template.metadata.annotations or {}, template.metadata.labels or {}
    config = injector.configs.get(question.decision.revision or "")
    if config is None or not config.common or template.spec.proxies() or any(name in annotations for name in _SHAPING):
        return None
    pin = annotations.get(PROXY_IMAGE)
    if pin is not None:
        # Used verbatim only if it names a repository: istio-discovery/files/injection-template.yaml.
        return pin if "/" in pin else None
    if injector.proxy_configs is None:
        return None
    shaped = (one for one in injector.proxy_configs if one.spec.image and one.means(question.namespace, labels))
    return None if any(shaped) else config.image


def answered(pod: Pod) -> ExpectedProxy:
    """The injector's answer: the Pod as it patched it."""
    proxies = pod.spec.proxies()
    if not proxies:
        return ExpectedProxy(None, "injector")
    return ExpectedProxy(proxies[0].image, "injector", shape=shape_of(pod))


def shape_of(pod: Pod) -> Shape:
    """The sidecar of a Pod beyond its image."""
    proxies = pod.spec.proxies()
    setup = next((one.name for one in pod.spec.init_containers or () if one.name in SETUPS), None)
    resources = proxies[0].resources if proxies else None
    return Shape(resources or Resources(), setup, injected_by(pod))


def injected_by(pod: Pod) -> str | None:
    """The revision that injected a Pod; None when its status does not tell.

    Only injectors write the status. Older ones and test fixtures write other JSON into it, or none at all.
    """
    try:
        status: object = json.loads(pod.metadata.annotation(SIDECAR_STATUS) or "null")
    except ValueError:
        return None
    revision = status.get("revision") if isinstance(status, Mapping) else None
    return revision if isinstance(revision, str) and revision else None
