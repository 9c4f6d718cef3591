"""The proxy that a Pod template would get: what is asked of the injector, and what its answer says.

One query serves all templates that must get the same proxy. Where the injector does not answer, the proxy of a plain
template is computed from the revision's ConfigMaps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mesh.istio.injection import InjectionDecision, Injector
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

#: Annotations that change which image the injector writes, in ways that are not computed here.
_IMAGE_ANNOTATIONS = (PROXY_IMAGE_TYPE, PROXY_CONFIG, INJECTION_TEMPLATES)
_ISTIO_DOMAIN = "istio.io/"
#: The init container shows how traffic is redirected: by CNI, which only validates, or by the Pod itself.
TRAFFIC_CONTAINERS = (VALIDATION_CONTAINER, INIT_CONTAINER)


@dataclass(frozen=True, slots=True)
class InjectionQuery:
    """A query to the injector about a template. `problem` says why the answer could not be trusted."""

    key: str
    namespace: str
    decision: InjectionDecision
    template: PodTemplate
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class SidecarShape:
    """A sidecar beyond its image: its resources, its init container, and the revision that injected it."""

    resources: Resources
    init_container: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedProxy:
    """What a template would get now: the image of the proxy, where that is known from, and the rest of the sidecar.

    Without an image, `problem` says why it is not known. Without a problem too, the template would get no sidecar, and
    `refusal` may say why. `source` is `injector`, `configmap` or `template`.
    """

    image: str | None
    source: str | None
    problem: str | None = None
    shape: SidecarShape | None = None
    refusal: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the injector itself answered that it adds no sidecar, whatever its configuration says."""
        return self.image is None and self.source == "injector"

    def __str__(self) -> str:
        """Returns the image, or why there is none."""
        return self.image or self.problem or self.refusal or "no sidecar"


NO_SIDECAR = ExpectedProxy(None, None)


def injection_query(
    injector: Injector, namespace: str, decision: InjectionDecision, template: PodTemplate
) -> InjectionQuery:
    """Returns the query about a template that would be injected."""
    problem = None
    if template.spec.raw is None and not injector.image_is_common(decision.revision):
        problem = "the injection template is edited, and the Pod fields that it may read are not all known"
    return InjectionQuery(_key(injector, namespace, decision, template), namespace, decision, template, problem)


def _key(injector: Injector, namespace: str, decision: InjectionDecision, template: PodTemplate) -> str:
    """Returns a text that is the same for templates that get the same proxy."""
    labels, annotations = template.metadata.labels or {}, template.metadata.annotations or {}
    own = [msgspec.to_builtins(proxy) for proxy in template.spec.proxies()]
    traffic = sorted(
        container.name for container in template.spec.init_containers or () if container.name in TRAFFIC_CONTAINERS
    )
    parts: list[object] = [decision.revision, own, traffic]
    if injector.image_is_common(decision.revision):
        # What other tools annotate cannot reach the proxy; Istio's own annotations all carry its domain.
        annotations = {key: value for key, value in annotations.items() if _ISTIO_DOMAIN in key}
        parts.append(sorted(annotations.items()))
        if injector.proxy_configs is not None:
            applied = [config.metadata for config in injector.proxy_configs if config.applies_to(namespace, labels)]
            parts.append(sorted((metadata.namespace, metadata.name) for metadata in applied))
        else:
            parts += [namespace, sorted(labels.items())]
    else:
        parts += [namespace, sorted(labels.items()), sorted(annotations.items()), template.spec.raw]
    return json.dumps(parts)


def computed_proxy(injector: Injector, query: InjectionQuery, problem: str) -> ExpectedProxy:
    """Returns the proxy that the ConfigMaps alone tell, else the problem why the injector could not be asked."""
    image = _computed_image(injector, query)
    if image:
        return ExpectedProxy(image, "configmap")
    config = injector.configs.get(query.decision.revision or "")
    return ExpectedProxy(None, None, f"{problem}; {config.problem}" if config and config.problem else problem)


def _computed_image(injector: Injector, query: InjectionQuery) -> str | None:
    template = query.template
    annotations, labels = template.metadata.annotations or {}, template.metadata.labels or {}
    config = injector.configs.get(query.decision.revision or "")
    if (
        config is None
        or not config.image_is_common
        or template.spec.proxies()
        or any(name in annotations for name in _IMAGE_ANNOTATIONS)
    ):
        return None
    pin = annotations.get(PROXY_IMAGE)
    if pin is not None:
        # Used verbatim only if it names a repository: istio-discovery/files/injection-template.yaml.
        return pin if "/" in pin else None
    if injector.proxy_configs is None:
        return None
    applied = (one for one in injector.proxy_configs if one.applies_to(query.namespace, labels))
    return None if any(one.spec.image for one in applied) else config.image


def proxy_in_answer(pod: Pod) -> ExpectedProxy:
    """Returns the proxy in the injector's answer, which is the Pod as the injector patched it."""
    proxies = pod.spec.proxies()
    if not proxies:
        return ExpectedProxy(None, "injector")
    return ExpectedProxy(proxies[0].image, "injector", shape=sidecar_shape(pod))


def sidecar_shape(pod: Pod) -> SidecarShape:
    """Returns the sidecar of a Pod beyond its image."""
    proxies = pod.spec.proxies()
    init_container = next(
        (container.name for container in pod.spec.init_containers or () if container.name in TRAFFIC_CONTAINERS), None
    )
    resources = proxies[0].resources if proxies else None
    return SidecarShape(resources or Resources(), init_container, injecting_revision(pod))


def injecting_revision(pod: Pod) -> str | None:
    """Returns the revision that injected a Pod, None when the annotation of the injector does not tell.

    Older injectors and test fixtures write other JSON into the annotation, or no JSON at all.
    """
    try:
        status: object = json.loads(pod.metadata.annotation(SIDECAR_STATUS) or "null")
    except ValueError:
        return None
    revision = status.get("revision") if isinstance(status, Mapping) else None
    return revision if isinstance(revision, str) and revision else None
