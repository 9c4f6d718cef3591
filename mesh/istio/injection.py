"""Would a Pod created from this template now get a sidecar, and from which revision?

Two gates, both read from the cluster. Gate 1: the selectors of the injection webhooks. Gate 2: the decision of istiod
itself (istio/istio, pkg/kube/inject/inject.go, injectRequired), with the policy and selectors of the revision's
ConfigMap `istio-sidecar-injector[-<revision>]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mesh.istio.injector_config import InjectorConfig, ProxyConfig
from mesh.k8s.objects import ClientConfig, PodTemplate, WebhookConfiguration
from mesh.k8s.selectors import LabelSelector
from mesh.wellknown import IGNORED_NAMESPACES, INJECT, REVISION, REVISION_TAG


@dataclass(frozen=True, slots=True)
class InjectionWebhook:
    """A webhook that injects: which Pods it selects, its revision and revision tag, and the server that it calls."""

    name: str
    revision: str
    namespace_selector: LabelSelector
    object_selector: LabelSelector
    client: ClientConfig
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Injector:
    """All that decides about injection in one cluster at one moment.

    `configs` are by revision. `proxy_configs` is None where they cannot be read: then any may apply to any Pod.
    `problem` says why the webhooks are not known: then nothing is known about any Pod.
    """

    webhooks: tuple[InjectionWebhook, ...] = ()
    configs: Mapping[str, InjectorConfig] = field(default_factory=dict)
    proxy_configs: tuple[ProxyConfig, ...] | None = ()
    problem: str | None = None

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions that some webhook or ConfigMap belongs to, sorted."""
        return tuple(sorted({*(webhook.revision for webhook in self.webhooks), *self.configs}))

    def revision_of(self, name: str) -> str:
        """Returns the revision that a label `istio.io/rev` names, directly or by a tag."""
        return next((webhook.revision for webhook in self.webhooks if webhook.tag == name), name)

    def image_is_common(self, revision: str | None) -> bool:
        """Whether the templates of that revision are known to read nothing of a Pod but Istio's own annotations."""
        config = self.configs.get(revision or "")
        return config is not None and config.image_is_common

    @property
    def has_edited_templates(self) -> bool:
        """Whether some template may read any field of a Pod."""
        return not all(self.image_is_common(revision) for revision in self.revisions)

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about the ConfigMaps that do not parse, by revision."""
        return tuple(config.problem for _, config in sorted(self.configs.items()) if config.problem)


@dataclass(frozen=True, slots=True)
class InjectionDecision:
    """Whether a Pod would be injected, and by which webhook.

    `reason` says why it would not be. `problem` says why that is not known; then there is no webhook.
    """

    webhook: InjectionWebhook | None
    reason: str = ""
    problem: str | None = None

    @property
    def injected(self) -> bool:
        """Whether the Pod would get a sidecar."""
        return self.webhook is not None

    @property
    def revision(self) -> str | None:
        """The revision that would inject the Pod."""
        return self.webhook.revision if self.webhook else None


def injection_webhooks(configurations: Iterable[WebhookConfiguration]) -> tuple[InjectionWebhook, ...]:
    """Returns the sidecar injectors among all MutatingWebhookConfigurations (label `app: sidecar-injector`)."""
    return tuple(
        InjectionWebhook(
            name=webhook.name,
            revision=configuration.metadata.label(REVISION) or "default",
            namespace_selector=webhook.namespace_selector,
            object_selector=webhook.object_selector,
            client=webhook.client_config,
            tag=configuration.metadata.label(REVISION_TAG),
        )
        for configuration in sorted(configurations, key=lambda configuration: configuration.metadata.name)
        if configuration.metadata.label("app") == "sidecar-injector"
        for webhook in configuration.webhooks or ()
    )


def decide_injection(
    injector: Injector, namespace: str, namespace_labels: Mapping[str, str], template: PodTemplate
) -> InjectionDecision:
    """Returns what both gates decide about a Pod created from the template in that namespace now."""
    if injector.problem is not None:
        return InjectionDecision(None, problem=injector.problem)
    labels = template.metadata.labels or {}
    webhooks = [
        webhook
        for webhook in injector.webhooks
        if webhook.namespace_selector.matches(namespace_labels) and webhook.object_selector.matches(labels)
    ]
    if not webhooks:
        return InjectionDecision(None, "no injection webhook selects it")
    if template.spec.host_network:
        return InjectionDecision(None, "it uses the network of its node")
    if namespace in IGNORED_NAMESPACES:
        return InjectionDecision(None, f"Istio ignores namespace {namespace}")
    refusal = ""
    # The API server calls them by the names of their configurations, and what the last one injects stays.
    for webhook in reversed(webhooks):
        config = injector.configs.get(webhook.revision)
        refusal = _policy_refusal(config, labels, template.metadata.annotations or {}) or ""
        if not refusal:
            return InjectionDecision(webhook)
    return InjectionDecision(None, refusal)


def _policy_refusal(
    config: InjectorConfig | None, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> str | None:
    if config is not None and config.policy not in ("enabled", "disabled"):
        return f"the injection policy {config.policy!r} is not one that Istio knows"
    requested = labels.get(INJECT, annotations.get(INJECT, ""))
    if requested == "true":
        return None
    if requested == "false":
        return f"{INJECT} is false"
    if config is None:
        return None
    if _matches_any(config.never_inject, labels):
        return "a neverInjectSelector matches it"
    if _matches_any(config.always_inject, labels):
        return None
    return None if config.policy == "enabled" else "the injection policy is disabled"


def _matches_any(selectors: Iterable[LabelSelector], labels: Mapping[str, str]) -> bool:
    return any(selector.matches(labels) for selector in selectors if selector.valid and not selector.empty)
