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
from typing import Any

import msgspec
import yaml

from mesh.istio.injection_template import image_is_common
from mesh.k8s.objects import ClientConfig, ConfigMap, Metadata, PodTemplate, WebhookConfiguration
from mesh.k8s.selectors import LabelSelector
from mesh.text import one_line
from mesh.wellknown import (
    IGNORED_NAMESPACES,
    INJECT,
    ISTIO_NAMESPACE,
    REVISION,
    REVISION_TAG,
)

#: libyaml where it is there: the templates are 100 kB of text, and the pure parser takes a tenth of a second for them.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IMAGE_TYPE = re.compile(r"-(distroless|debug)$")


@dataclass(frozen=True, slots=True)
class InjectionWebhook:
    """One live webhook that injects: whom it selects, whose it is and by which tag, where it answers."""

    name: str
    revision: str
    namespace_selector: LabelSelector
    object_selector: LabelSelector
    client: ClientConfig
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class InjectorConfig:
    """What a revision's ConfigMaps say.

    `image` is the proxy image of a Pod without wishes, None if it cannot be told. `common`: Pods with the same
    annotations of Istio get the same image (see mesh.istio.injection_template). `problem` says why a ConfigMap could
    not be read.
    """

    revision: str
    policy: str = "enabled"
    never: tuple[LabelSelector, ...] = ()
    always: tuple[LabelSelector, ...] = ()
    image: str | None = None
    common: bool = False
    problem: str | None = None


class _ProxyConfigSpec(msgspec.Struct, frozen=True):
    selector: LabelSelector | None = None
    image: dict[str, Any] | None = None


class ProxyConfig(msgspec.Struct, frozen=True):
    """A ProxyConfig (networking.istio.io/v1beta1): settings of the proxies of a namespace, or of some of its Pods."""

    metadata: Metadata = Metadata()
    spec: _ProxyConfigSpec = _ProxyConfigSpec()

    def means(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether it counts for such a Pod; one in Istio's own namespace counts for all."""
        if self.metadata.namespace not in (namespace, ISTIO_NAMESPACE):
            return False
        return self.spec.selector is None or self.spec.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class Injector:
    """Everything that decides about injection in one cluster at one moment."""

    webhooks: tuple[InjectionWebhook, ...] = ()
    configs: Mapping[str, InjectorConfig] = field(default_factory=dict)
    #: None where they cannot be read: then any Pod may be meant by one.
    proxy_configs: tuple[ProxyConfig, ...] | None = ()
    #: Why the webhooks are not known: then nothing is, about any Pod.
    problem: str | None = None

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions that some webhook or ConfigMap belongs to, sorted."""
        return tuple(sorted({*(hook.revision for hook in self.webhooks), *self.configs}))

    def revision_of(self, name: str) -> str:
        """The revision that a label `istio.io/rev` means, which may name a tag."""
        return next((hook.revision for hook in self.webhooks if hook.tag == name), name)

    def common(self, revision: str | None) -> bool:
        """Whether that revision's templates are known to read nothing of a Pod but Istio's own annotations."""
        config = self.configs.get(revision or "")
        return config is not None and config.common

    @property
    def edited(self) -> bool:
        """Whether some template may read any field of a Pod."""
        return not all(self.common(revision) for revision in self.revisions)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not parse, by revision."""
        return tuple(config.problem for _, config in sorted(self.configs.items()) if config.problem)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a Pod would be injected, by which webhook; `reason` in words when it would not be.

    `problem` tells why that cannot be said at all; then there is no webhook.
    """

    webhook: InjectionWebhook | None
    reason: str = ""
    problem: str | None = None

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
            tag=configuration.metadata.label(REVISION_TAG),
        )
        for configuration in sorted(configurations, key=lambda one: one.metadata.name)
        if configuration.metadata.label("app") == "sidecar-injector"
        for webhook in configuration.webhooks or ()
    )


def injector_config(config_map: ConfigMap, mesh_map: ConfigMap | None = None) -> InjectorConfig:
    """Reads a revision's ConfigMaps: the injector's, and the mesh's (`istio[-<revision>]`) for its image type.

    What does not parse is told in `problem`, and then nothing is computed from it.
    """
    revision = config_map.metadata.label(REVISION) or "default"
    data = config_map.data or {}
    try:
        config = _yaml(data.get("config", ""))
        values = json.loads(data.get("values", "{}"))
        mesh = _yaml((mesh_map.data or {}).get("mesh", "") if mesh_map else "")
        templates = config.get("templates") or {}
        return InjectorConfig(
            revision=revision,
            policy=str(config.get("policy")),
            never=msgspec.convert(config.get("neverInjectSelector") or [], tuple[LabelSelector, ...]),
            always=msgspec.convert(config.get("alwaysInjectSelector") or [], tuple[LabelSelector, ...]),
            image=_plain_image(values.get("global") or {}, (mesh.get("defaultConfig") or {}).get("image") or {}),
            common=all(
                name in templates and image_is_common(str(templates[name]))
                for name in config.get("defaultTemplates") or ["sidecar"]
            ),
        )
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, msgspec.ValidationError) as error:
        told = one_line(f"ConfigMap {config_map.metadata.name} does not parse: {error}")
        return InjectorConfig(revision=revision, problem=told)


def _yaml(text: str) -> Any:  # noqa: ANN401  # what it is, whoever reads it finds out
    return yaml.load(text, Loader=_LOADER) or {}  # noqa: S506  # a safe loader, whichever of the two


def _plain_image(values: Mapping[str, object], mesh_image: Mapping[str, object]) -> str | None:
    """The image of a Pod without wishes: istio/istio, pkg/kube/inject/inject.go, ProxyImage and imageURL."""
    proxy = values.get("proxy")
    name = str(proxy.get("image") or "proxyv2") if isinstance(proxy, Mapping) else "proxyv2"
    if "/" in name:
        return name
    hub, tag = str(values.get("hub") or ""), str(values.get("tag") or "")
    kind = str(mesh_image.get("imageType") or values.get("variant") or "")
    if not hub or not tag:
        return None
    if kind:
        # A type takes the place of the one that the tag ends in: inject.go, updateImageTypeIfPresent.
        tag = _IMAGE_TYPE.sub("", tag) + ("" if kind == "default" else f"-{kind}")
    return f"{hub}/{name}:{tag}"


def decide(injector: Injector, namespace: str, namespace_labels: Mapping[str, str], template: PodTemplate) -> Decision:
    """Both gates, for a Pod made from `template` in that namespace now."""
    if injector.problem is not None:
        return Decision(None, problem=injector.problem)
    labels = template.metadata.labels or {}
    hooks = [
        one
        for one in injector.webhooks
        if one.namespace_selector.matches(namespace_labels) and one.object_selector.matches(labels)
    ]
    if not hooks:
        return Decision(None, "no injection webhook selects it")
    if template.spec.host_network:
        return Decision(None, "it uses the host's network")
    if namespace in IGNORED_NAMESPACES:
        return Decision(None, f"Istio ignores namespace {namespace}")
    refusal = ""
    # The API server calls them by the names of their configurations, and what the last one injects stays.
    for hook in reversed(hooks):
        config = injector.configs.get(hook.revision)
        refusal = _policy_refusal(config, labels, template.metadata.annotations or {}) or ""
        if not refusal:
            return Decision(hook)
    return Decision(None, refusal)


def _policy_refusal(
    config: InjectorConfig | None, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> str | None:
    if config is not None and config.policy not in ("enabled", "disabled"):
        return f"the injection policy is {config.policy!r}, which is none"
    wish = labels.get(INJECT, annotations.get(INJECT, ""))
    if wish == "true":
        return None
    if wish == "false":
        return f"{INJECT} is false"
    if config is None:
        return None
    if any(one.matches(labels) for one in config.never if one.valid and not one.empty):
        return "a neverInjectSelector matches it"
    if any(one.matches(labels) for one in config.always if one.valid and not one.empty):
        return None
    return None if config.policy == "enabled" else "the injection policy is disabled"
