"""The configuration of an injector: the ConfigMaps of a revision, and ProxyConfigs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from mesh.istio.injection_template import image_is_common
from mesh.k8s.objects import ConfigMap, Metadata
from mesh.k8s.selectors import LabelSelector
from mesh.text import one_line
from mesh.wellknown import ISTIO_NAMESPACE, REVISION

#: libyaml where it is installed: the templates are 100 kB of text, for which the pure parser takes a tenth of a second.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IMAGE_TYPE = re.compile(r"-(distroless|debug)$")


@dataclass(frozen=True, slots=True)
class InjectorConfig:
    """What the ConfigMaps of a revision say.

    `never_inject` and `always_inject` are the selectors of that name. `image` is the proxy image of a Pod that asks for
    no other, None if it is not known. `image_is_common`: Pods with the same annotations of Istio get the same image
    (see mesh.istio.injection_template). `problem` says why a ConfigMap could not be read.
    """

    revision: str
    policy: str = "enabled"
    never_inject: tuple[LabelSelector, ...] = ()
    always_inject: tuple[LabelSelector, ...] = ()
    image: str | None = None
    image_is_common: bool = False
    problem: str | None = None


class _ProxyConfigSpec(msgspec.Struct, frozen=True):
    selector: LabelSelector | None = None
    image: dict[str, Any] | None = None


class ProxyConfig(msgspec.Struct, frozen=True):
    """A ProxyConfig (networking.istio.io/v1beta1): settings of the proxies of a namespace, or of some of its Pods."""

    metadata: Metadata = Metadata()
    spec: _ProxyConfigSpec = _ProxyConfigSpec()

    def applies_to(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether it applies to a Pod with these labels; one in Istio's own namespace applies to every namespace."""
        if self.metadata.namespace not in (namespace, ISTIO_NAMESPACE):
            return False
        return self.spec.selector is None or self.spec.selector.matches(labels)


def injector_config(config_map: ConfigMap, mesh_map: ConfigMap | None = None) -> InjectorConfig:
    """Reads the ConfigMaps of a revision: the injector's, and the mesh's (`istio[-<revision>]`) for its image type.

    A ConfigMap that does not parse is a `problem` of the result, and then nothing is computed from it.
    """
    revision = config_map.metadata.label(REVISION) or "default"
    data = config_map.data or {}
    try:
        config = _parse_yaml(data.get("config", ""))
        values = json.loads(data.get("values", "{}"))
        mesh = _parse_yaml((mesh_map.data or {}).get("mesh", "") if mesh_map else "")
        templates = config.get("templates") or {}
        return InjectorConfig(
            revision=revision,
            policy=str(config.get("policy")),
            never_inject=msgspec.convert(config.get("neverInjectSelector") or [], tuple[LabelSelector, ...]),
            always_inject=msgspec.convert(config.get("alwaysInjectSelector") or [], tuple[LabelSelector, ...]),
            image=_default_image(values.get("global") or {}, (mesh.get("defaultConfig") or {}).get("image") or {}),
            image_is_common=all(
                name in templates and image_is_common(str(templates[name]))
                for name in config.get("defaultTemplates") or ["sidecar"]
            ),
        )
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, msgspec.ValidationError) as error:
        problem = one_line(f"ConfigMap {config_map.metadata.name} does not parse: {error}")
        return InjectorConfig(revision=revision, problem=problem)


def _parse_yaml(text: str) -> Any:  # noqa: ANN401  # the caller finds out what it is
    return yaml.load(text, Loader=_LOADER) or {}  # noqa: S506  # a safe loader, whichever of the two


def _default_image(values: Mapping[str, object], mesh_image: Mapping[str, object]) -> str | None:
    """The image of a Pod that asks for no other: istio/istio, pkg/kube/inject/inject.go, ProxyImage and imageURL."""
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
