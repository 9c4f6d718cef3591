"""Would a Pod made from this template now get a sidecar, and from which revision?

Two gates, both read from the live cluster. Gate 1: the selectors of the injection webhooks. Gate 2: the
decision of istiod itself (istio/istio, pkg/kube/inject/inject.go, injectRequired), with the policy and selectors
of the revision's ConfigMap `istio-sidecar-injector[-<revision>]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import yaml

from mesh.objects import ClientConfig, ConfigMap, PodTemplate, WebhookConfiguration
from mesh.selectors import LabelSelector

INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"
PROXY_IMAGE = "sidecar.istio.io/proxyImage"

#: istio/istio, pkg/kube/inject/initializer.go, IgnoredNamespaces.
IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})

#: Annotations that change which image the injector writes; the computed fallback does not cover them.
_SHAPING_ANNOTATIONS = ("sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType", "proxy.istio.io/config")
_TEMPLATES = "inject.istio.io/templates"
_IMAGE_TYPE = re.compile(r"-(distroless|debug)$")


@dataclass(frozen=True, slots=True)
class InjectionWebhook:
    """One live webhook that injects: whom it selects, whose it is, where it answers."""

    name: str
    revision: str
    namespace_selector: LabelSelector
    object_selector: LabelSelector
    client: ClientConfig


@dataclass(frozen=True, slots=True)
class InjectorConfig:
    """What a revision's ConfigMap says. `image` is the plain template's proxy image, None if it cannot be told."""

    revision: str
    policy_enabled: bool = True
    never: tuple[LabelSelector, ...] = ()
    always: tuple[LabelSelector, ...] = ()
    image: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Injector:
    """Everything that decides about injection in one cluster at one moment."""

    webhooks: tuple[InjectionWebhook, ...] = ()
    configs: Mapping[str, InjectorConfig] = field(default_factory=dict)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions that some webhook or ConfigMap belongs to, sorted."""
        return tuple(sorted({*(hook.revision for hook in self.webhooks), *self.configs}))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a Pod would be injected, by which webhook; `reason` in words when it would not be."""

    webhook: InjectionWebhook | None
    reason: str = ""

    @property
    def injected(self) -> bool:
        """Whether it would get a sidecar."""
        return self.webhook is not None

    @property
    def revision(self) -> str | None:
        """The revision that would inject it."""
        return self.webhook.revision if self.webhook else None


def injection_webhooks(configurations: Iterable[WebhookConfiguration]) -> tuple[InjectionWebhook, ...]:
    """Picks the sidecar injectors out of all MutatingWebhookConfigurations (label `app: sidecar-injector`)."""
    return tuple(
        InjectionWebhook(
            name=webhook.name,
            revision=configuration.metadata.label(REVISION) or "default",
            namespace_selector=webhook.namespace_selector,
            object_selector=webhook.object_selector,
            client=webhook.client_config,
        )
        for configuration in sorted(configurations, key=lambda one: one.metadata.name)
        if configuration.metadata.label("app") == "sidecar-injector"
        for webhook in configuration.webhooks or ()
    )


def injector_config(config_map: ConfigMap) -> InjectorConfig:
    """Reads a revision's ConfigMap; what does not parse is told in `problem`, and then nothing is computed from it."""
    revision = config_map.metadata.label(REVISION) or "default"
    data = config_map.data or {}
    try:
        config = yaml.safe_load(data.get("config", "")) or {}
        values = json.loads(data.get("values", "{}"))
        never = msgspec.convert(config.get("neverInjectSelector") or [], tuple[LabelSelector, ...])
        always = msgspec.convert(config.get("alwaysInjectSelector") or [], tuple[LabelSelector, ...])
        policy_enabled = config.get("policy") == "enabled"
        image = _plain_image(values.get("global") or {})
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, msgspec.ValidationError) as error:
        return InjectorConfig(
            revision=revision, problem=f"ConfigMap {config_map.metadata.name} does not parse: {error}"
        )
    return InjectorConfig(revision, policy_enabled, never, always, image)


def _plain_image(values: Mapping[str, object]) -> str | None:
    """The image of a template without wishes: istio/istio, pkg/kube/inject/inject.go, ProxyImage."""
    proxy = values.get("proxy")
    name = str(proxy.get("image") or "proxyv2") if isinstance(proxy, Mapping) else "proxyv2"
    if "/" in name:
        return name
    hub, tag, variant = str(values.get("hub") or ""), str(values.get("tag") or ""), str(values.get("variant") or "")
    if not hub or not tag:
        return None
    if variant:
        # A variant takes the place of the type that the tag ends in: inject.go, updateImageTypeIfPresent.
        tag = _IMAGE_TYPE.sub("", tag) + ("" if variant == "default" else f"-{variant}")
    return f"{hub}/{name}:{tag}"


def decide(injector: Injector, namespace: str, namespace_labels: Mapping[str, str], template: PodTemplate) -> Decision:
    """Both gates, for a Pod made from `template` in that namespace now."""
    labels = template.metadata.labels or {}
    hook = next(
        (
            one
            for one in injector.webhooks
            if one.namespace_selector.matches(namespace_labels) and one.object_selector.matches(labels)
        ),
        None,
    )
    if hook is None:
        return Decision(None, "no injection webhook selects it")
    if template.spec.host_network:
        return Decision(None, "it uses the host's network")
    if namespace in IGNORED_NAMESPACES:
        return Decision(None, f"Istio ignores namespace {namespace}")
    refusal = _policy_refusal(injector.configs.get(hook.revision), labels, template.metadata.annotations or {})
    return Decision(None, refusal) if refusal else Decision(hook)


def _policy_refusal(
    config: InjectorConfig | None, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> str | None:
    wish = labels.get(INJECT, annotations.get(INJECT, ""))
    if wish == "true":
        return None
    if wish == "false":
        return f"{INJECT} is false"
    if config is None:
        return None
    if any(one.matches(labels) for one in config.never if not one.empty):
        return "a neverInjectSelector matches it"
    if any(one.matches(labels) for one in config.always if not one.empty):
        return None
    return None if config.policy_enabled else "the injection policy is disabled"


def template_key(namespace: str, decision: Decision, template: PodTemplate) -> str:
    """Two templates with one key get the same proxy from the injector, so one question serves both.

    Labels are part of it because ProxyConfig resources select by them; names of containers because a template may
    shape its own `istio-proxy`.
    """
    spec = template.spec
    # The service annotations of other tools cannot reach the proxy's image; Istio's own all carry its domain.
    annotations = {k: v for k, v in (template.metadata.annotations or {}).items() if "istio.io/" in k}
    return json.dumps(
        [
            decision.revision,
            namespace,
            sorted((template.metadata.labels or {}).items()),
            sorted(annotations.items()),
            [(one.name, one.image) for one in spec.proxies()],
        ]
    )


def computed_image(injector: Injector, decision: Decision, template: PodTemplate) -> str | None:
    """The proxy image from the ConfigMap alone, for plain templates; None where only the injector can tell."""
    annotations = template.metadata.annotations or {}
    config = injector.configs.get(decision.revision or "")
    if config is None or _TEMPLATES in annotations or template.spec.proxies():
        return None
    pin = annotations.get(PROXY_IMAGE)
    if pin is not None:
        # Used verbatim only if it names a repository: istio-discovery/files/injection-template.yaml.
        return pin if "/" in pin else None
    if any(name in annotations for name in _SHAPING_ANNOTATIONS):
        return None
    return config.image
