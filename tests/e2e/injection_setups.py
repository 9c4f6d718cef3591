"""States that a mesh's Istio can be in, and what it makes of Pods in each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.local import processes
from deploy.local.binaries import ensure
from deploy.local.istio import NAMESPACE, install_istio
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh
from tests.e2e.injection_trial import TAGS, Case, SetUp, case

INJECT, REVISION = "sidecar.istio.io/inject", "istio.io/rev"
PROXY_IMAGE, IMAGE_TYPE = "sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType"
PROXY_CONFIG, TEMPLATES = "proxy.istio.io/config", "inject.istio.io/templates"

PLAIN: Mapping[str, str] = {}
ENABLED = {"istio-injection": "enabled"}
CANARY = {REVISION: "canary"}
#: A namespace that has ProxyConfig resources.
CONFIGURED = ENABLED | {"proxy-config": "yes"}
DEBUG = {PROXY_CONFIG: '{"image": {"imageType": "debug"}}'}

_TABLE = Path(__file__).parents[1] / "mesh" / "istio" / "injection_truth_table.json"

Document = dict[str, Any]


def _table(*, auto: bool) -> tuple[Case, ...]:
    """The rows of the truth table with or without `enableNamespacesByDefault`."""
    rows = json.loads(_TABLE.read_text())["cases"]
    return tuple(
        case(" ".join(json.dumps(part).replace('"', "") for part in row[1:]), row[4], *row[1:4])
        for row in rows
        if row[0] is auto
    )


def istioctl(mesh: Mesh, *arguments: str) -> None:
    """Runs the real istioctl as the cluster's administrator."""
    done = processes.run([str(ensure()["istioctl"]), *arguments], env=mesh.environment)
    assert done.returncode == 0, done.stderr


# Changes of the live Istio. Each is taken back at its end.


def _edited(
    config_map: str, key: str, edit: Callable[[Document], None]
) -> Callable[[Mesh], AbstractContextManager[None]]:
    """One document of a ConfigMap, edited in place."""

    @contextmanager
    def change(mesh: Mesh) -> Iterator[None]:
        where = ("configmap", config_map, "-n", NAMESPACE)
        before = read(mesh, *where)["data"][key]
        document = yaml.safe_load(before)
        edit(document)
        _write(mesh, where, key, json.dumps(document) if key == "values" else yaml.safe_dump(document))
        try:
            yield
        finally:
            _write(mesh, where, key, before)

    return change


def _write(mesh: Mesh, where: tuple[str, ...], key: str, text: str) -> None:
    kubectl(mesh, "patch", *where, "--type=merge", "-p", json.dumps({"data": {key: text}}))


def _injector(revision: str, edit: Callable[[Document], None]) -> Callable[[Mesh], AbstractContextManager[None]]:
    name = "istio-sidecar-injector" if revision == "default" else f"istio-sidecar-injector-{revision}"
    return _edited(name, "config", edit)


def _with_selectors(config: Document) -> None:
    never = [
        {},
        {"matchLabels": {"mark": "never"}},
        {"matchLabels": {"mark": "both"}},
        {"matchExpressions": [{"key": "stage", "operator": "In", "values": ["never"]}]},
        {"matchExpressions": [{"key": "mark", "operator": "NotIn", "values": []}]},
    ]
    config["neverInjectSelector"] = never
    config["alwaysInjectSelector"] = [{"matchLabels": {"mark": one}} for one in ("always", "both")]


def _with_policy(policy: str) -> Callable[[Document], None]:
    def edit(config: Document) -> None:
        config["policy"] = policy
        config["alwaysInjectSelector"] = [{"matchLabels": {"mark": "always"}}]

    return edit


def _with_other_template(config: Document) -> None:
    image = (
        '{{ if eq (index .ObjectMeta.Labels "fips" | default "") "yes" }}fips.example/proxyv2:1'
        '{{ else if eq (index .ObjectMeta.Annotations "example.com/proxy" | default "") "slim" }}slim.example/proxyv2:1'
        '{{ else if eq .Spec.ServiceAccountName "trusted" }}trusted.example/proxyv2:1'
        '{{ else if eq .Spec.DNSPolicy "Default" }}dns.example/proxyv2:1'
        '{{ else if eq (index .Spec.NodeSelector "disk" | default "") "fast" }}fast.example/proxyv2:1'
        "{{ else if gt (len (index .Spec.Containers 0).Env) 0 }}env.example/proxyv2:1"
        "{{ else }}{{ .Values.global.hub }}/hardened:{{ .Values.global.tag }}{{ end }}"
    )
    templates = config["templates"]
    templates["sidecar"] = templates["sidecar"].replace("{{ .ProxyImage }}", image)


def _with_other_values(values: Document) -> None:
    values["global"] |= {"variant": "debug"}
    values["global"]["proxy"]["image"] = "hardened"


def _with_image_type(config: Document) -> None:
    config.setdefault("defaultConfig", {})["image"] = {"imageType": "distroless"}


@contextmanager
def _proxy_configs(mesh: Mesh) -> Iterator[None]:
    named = {
        (NAMESPACE, "mesh-wide"): {"image": {"imageType": "debug"}},
        ("configured", "namespace-wide"): {"image": {"imageType": "distroless"}},
        ("configured", "by-label"): {"image": {"imageType": "default"}, "selector": {"matchLabels": {"app": "pay"}}},
    }
    made = [
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "ProxyConfig",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        }
        for (namespace, name), spec in named.items()
    ]
    apply(mesh, *made)
    try:
        yield
    finally:
        for namespace, name in named:
            kubectl(mesh, "delete", "proxyconfig", name, "-n", namespace)


@contextmanager
def _default_tag_moved(mesh: Mesh) -> Iterator[None]:
    istioctl(mesh, "tag", "set", "default", "--revision", "canary", "--overwrite")
    try:
        yield
    finally:
        istioctl(mesh, "tag", "set", "default", "--revision", "default", "--overwrite")


@contextmanager
def _default_tag_removed(mesh: Mesh) -> Iterator[None]:
    istioctl(mesh, "tag", "remove", "default", "--skip-confirmation")
    try:
        yield
    finally:
        istioctl(mesh, "tag", "set", "default", "--revision", "default")


@contextmanager
def _second_default(mesh: Mesh) -> Iterator[None]:
    """Webhooks of canary that select what those of the tag `default` select, and are called after them."""
    name = "other-default"
    flags = ("--revision", "canary", "--overwrite", "--webhook-name", name, "--skip-confirmation")
    istioctl(mesh, "tag", "set", "default", *flags)
    try:
        yield
    finally:
        kubectl(mesh, "delete", "mutatingwebhookconfiguration", name)


@contextmanager
def _first_default_refuses(mesh: Mesh) -> Iterator[None]:
    with _second_default(mesh), _injector("default", _with_policy("disabled"))(mesh):
        yield


@contextmanager
def _namespaces_by_default(mesh: Mesh) -> Iterator[None]:
    setting = "values.sidecarInjectorWebhook.enableNamespacesByDefault"
    install_istio(mesh, TAGS["default"], sets=[f"{setting}=true"])
    try:
        yield
    finally:
        install_istio(mesh, TAGS["default"])


# What happens in each state.


def _proxy_of_its_own(image: str) -> dict[str, Any]:
    return {"containers": [{"name": "app", "image": "app:1"}, {"name": "istio-proxy", "image": image}]}


def _native_proxy_of_its_own(image: str) -> dict[str, Any]:
    return {"initContainers": [{"name": "istio-proxy", "image": image, "restartPolicy": "Always"}]}


_REFUSED = (
    case("unknown-template", "refused", ENABLED, {}, {TEMPLATES: "nobody-has-it"}),
    case("impossible-annotation", "refused", ENABLED, {}, {"sidecar.istio.io/interceptionMode": "NONSENSE"}),
    case("impossible-proxy-config", "refused", ENABLED, {}, {PROXY_CONFIG: "image: ["}),
)
_INSTALLED = (
    *_REFUSED,
    *_table(auto=False),
    case("host-network", None, ENABLED, spec={"hostNetwork": True}),
    case("host-network-beats-wish", None, ENABLED, {INJECT: "true"}, spec={"hostNetwork": True}),
    case("kube-system", None, ENABLED, namespace="kube-system"),
    case("kube-system-beats-wish", None, ENABLED, {INJECT: "true"}, namespace="kube-system"),
    case("ignored-namespace", None, CANARY, {INJECT: "true"}, namespace="local-path-storage"),
    case("wish-is-case-sensitive", "default", ENABLED, {INJECT: "False"}),
    case("wish-is-case-sensitive-unlabelled", None, PLAIN, {INJECT: "True"}),
    case("empty-wish-hides-the-annotation", "default", ENABLED, {INJECT: ""}, {INJECT: "false"}),
    case("empty-injection-label", None, {"istio-injection": ""}, {INJECT: "true"}),
    case("empty-revision-label", None, {REVISION: ""}, {INJECT: "true"}),
    case("ambient-label", "default", ENABLED, {"istio.io/dataplane-mode": "ambient"}),
    case("tag-of-the-namespace", "canary", {REVISION: "prod"}),
    case("tag-of-the-namespace-beats-revision", "canary", {REVISION: "prod"}, {REVISION: "default"}),
    case("tag-of-the-namespace-refused", None, {REVISION: "prod"}, {INJECT: "false"}),
    case("tag-of-the-pod", "canary", PLAIN, {REVISION: "prod"}),
    case("tag-of-the-pod-refused", None, PLAIN, {REVISION: "prod"}, {INJECT: "false"}),
    case("tag-of-the-pod-where-enabled", "default", ENABLED, {REVISION: "prod"}),
    case("image-type-distroless", "default", ENABLED, {}, {IMAGE_TYPE: "distroless"}, image="proxyv2:1.29.3-distroless"),
    case("image-type-debug-of-canary", "canary", CANARY, {}, {IMAGE_TYPE: "debug"}, image="proxyv2:1.30.2-debug"),
    case("image-type-default", "default", ENABLED, {}, {IMAGE_TYPE: "default"}),
    case("image-type-by-config", "default", ENABLED, {}, DEBUG, image="proxyv2:1.29.3-debug"),
    case("image-type-by-config-in-yaml", "canary", CANARY, {}, {PROXY_CONFIG: "image:\n  imageType: debug\n"}, image="proxyv2:1.30.2-debug"),
    case("image-type-beats-config", "default", ENABLED, {}, DEBUG | {IMAGE_TYPE: "distroless"}, image="proxyv2:1.29.3-distroless"),
    case("config-without-image", "default", ENABLED, {}, {PROXY_CONFIG: '{"concurrency": 1}'}),
    case("pin", "default", ENABLED, {}, {PROXY_IMAGE: "r.example/p:9"}, image="r.example/p:9"),
    case("pin-beats-image-type", "default", ENABLED, {}, {PROXY_IMAGE: "r.example/p:9", IMAGE_TYPE: "debug"}, image="r.example/p:9"),
    case("pin-without-slash", "default", ENABLED, {}, {PROXY_IMAGE: "p:9"}),
    case("pin-without-slash-and-type", "default", ENABLED, {}, {PROXY_IMAGE: "p:9"} | DEBUG, image="proxyv2:1.29.3-debug"),
    case("native-sidecar", "default", ENABLED, {}, {"sidecar.istio.io/nativeSidecar": "true"}),
    case("no-native-sidecar", "canary", CANARY, {}, {"sidecar.istio.io/nativeSidecar": "false"}),
    case("gateway", "default", ENABLED, {}, {TEMPLATES: "gateway"}, spec=_proxy_of_its_own("auto")),
    case("gateway-without-container", "canary", CANARY, {}, {TEMPLATES: "gateway"}),
    case("gateway-with-image-type", "default", ENABLED, {}, {TEMPLATES: "gateway"} | DEBUG, image="proxyv2:1.29.3-debug"),
    case("gateway-pinned", "default", ENABLED, {}, {TEMPLATES: "gateway", PROXY_IMAGE: "r.example/p:9"}, image="r.example/p:9"),
    case("templates-said-as-they-are", "default", ENABLED, {}, {TEMPLATES: "sidecar"}),
    case("grpc-agent", "default", ENABLED, {}, {TEMPLATES: "grpc-agent"}),
    case("template-without-proxy", "default", ENABLED, {}, {TEMPLATES: "grpc-simple"}, image=None),
    case("own-proxy-auto", "default", ENABLED, spec=_proxy_of_its_own("auto")),
    case("own-proxy", "default", ENABLED, spec=_proxy_of_its_own("r.example/p:9"), image="r.example/p:9"),
    case("own-native-proxy", "canary", CANARY, spec=_native_proxy_of_its_own("r.example/p:9"), image="r.example/p:9"),
)  # fmt: skip

_NEVER = case("never", None, ENABLED, {"mark": "never"})
_SELECTORS = (
    _NEVER,
    case("wish-beats-never", "default", ENABLED, {"mark": "never", INJECT: "true"}),
    case("annotated-wish-beats-never", "default", ENABLED, {"mark": "never"}, {INJECT: "true"}),
    case("odd-wish-does-not-beat-never", None, ENABLED, {"mark": "never", INJECT: "yes"}),
    case("never-by-expression", None, ENABLED, {"stage": "never"}),
    case("never-beats-always", None, ENABLED, {"mark": "both"}),
    case("always", "default", ENABLED, {"mark": "always"}),
    case("refusal-beats-always", None, ENABLED, {"mark": "always"}, {INJECT: "false"}),
    case("always-opens-no-unlabelled-namespace", None, PLAIN, {"mark": "always"}),
    case("empty-and-impossible-selectors-are-ignored", "default", ENABLED, {"mark": "other"}),
    case("selectors-are-of-one-revision", "canary", CANARY, {"mark": "never"}),
)

_DISABLED = case("policy-disabled", None, CANARY)
_POLICY_DISABLED = (
    _DISABLED,
    case("wish-beats-policy", "canary", CANARY, {INJECT: "true"}),
    case("annotated-wish-beats-policy", "canary", CANARY, {}, {INJECT: "true"}),
    case("odd-wish-does-not-beat-policy", None, CANARY, {INJECT: "yes"}),
    case("always-beats-policy", "canary", CANARY, {"mark": "always"}),
    case("refusal-beats-always-and-policy", None, CANARY, {"mark": "always"}, {INJECT: "false"}),
    case("revision-of-the-pod", None, PLAIN, {REVISION: "canary"}),
    case("revision-of-the-pod-and-wish", "canary", PLAIN, {REVISION: "canary", INJECT: "true"}),
    case("policy-is-of-one-revision", "default", ENABLED),
)

_ILLEGAL = case("policy-illegal", None, ENABLED)
_POLICY_ILLEGAL = (
    _ILLEGAL,
    case("illegal-policy-beats-wish", None, ENABLED, {INJECT: "true"}),
    case("illegal-policy-beats-always", None, ENABLED, {"mark": "always"}),
    case("policy-is-of-one-revision", "canary", CANARY),
)

_HARDENED = case("edited-template", "canary", CANARY, image="hardened:1.30.2")
_WITH_VARIABLE = {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}
_OTHER_TEMPLATE = (
    _HARDENED,
    case("edited-template-by-label", "canary", CANARY, {"fips": "yes"}, image="fips.example/proxyv2:1"),
    case("edited-template-by-annotation", "canary", CANARY, {}, {"example.com/proxy": "slim"}, image="slim.example/proxyv2:1"),
    case("edited-template-by-account", "canary", CANARY, spec={"serviceAccountName": "trusted"}, image="trusted.example/proxyv2:1"),
    case("edited-template-by-dns", "canary", CANARY, spec={"dnsPolicy": "Default"}, image="dns.example/proxyv2:1"),
    case("edited-template-by-node", "canary", CANARY, spec={"nodeSelector": {"disk": "fast"}}, image="fast.example/proxyv2:1"),
    case("edited-template-by-variable", "canary", CANARY, spec={"containers": [_WITH_VARIABLE]}, image="env.example/proxyv2:1"),
    case("edited-template-by-default-dns", "canary", CANARY, spec={"dnsPolicy": "ClusterFirst"}, image="hardened:1.30.2"),
    case("edited-template-pinned", "canary", CANARY, {}, {PROXY_IMAGE: "r.example/p:9"}, image="r.example/p:9"),
    case("edited-template-forgets-image-type", "canary", CANARY, {}, {IMAGE_TYPE: "debug"}, image="hardened:1.30.2"),
    case("template-is-of-one-revision", "default", ENABLED, {"fips": "yes"}),
)  # fmt: skip

_VARIANT = case("variant-and-name", "canary", CANARY, image="hardened:1.30.2-debug")
_OTHER_VALUES = (
    _VARIANT,
    case("annotation-beats-variant", "canary", CANARY, {}, {IMAGE_TYPE: "default"}, image="hardened:1.30.2"),
    case("config-beats-variant", "canary", CANARY, {}, {PROXY_CONFIG: "image: {imageType: distroless}"}, image="hardened:1.30.2-distroless"),
    case("values-are-of-one-revision", "default", ENABLED),
)  # fmt: skip

_DISTROLESS = case("mesh-image-type", "canary", CANARY, image="proxyv2:1.30.2-distroless")
_MESH_CONFIG = (
    _DISTROLESS,
    case("annotation-beats-mesh", "canary", CANARY, {}, DEBUG, image="proxyv2:1.30.2-debug"),
    case("mesh-config-is-of-one-revision", "default", ENABLED),
)

_WIDE = case("mesh-wide", "default", ENABLED, image="proxyv2:1.29.3-debug")
_SPACE = case("namespace-wide", "default", CONFIGURED, namespace="configured", image="proxyv2:1.29.3-distroless")
_PAY = case("by-label", "default", CONFIGURED, {"app": "pay"}, DEBUG, namespace="configured")
_PROXY_CONFIGS = (
    _WIDE,
    _SPACE,
    _PAY,
    case("for-canary-too", "canary", CANARY, image="proxyv2:1.30.2-debug"),
    case("annotation-beats-namespace", "default", CONFIGURED, {}, DEBUG, namespace="configured", image="proxyv2:1.29.3-debug"),
    case("image-type-beats-label", "default", CONFIGURED, {"app": "pay"}, {IMAGE_TYPE: "debug"}, namespace="configured", image="proxyv2:1.29.3-debug"),
    case("annotation-without-image", "default", CONFIGURED, {}, {PROXY_CONFIG: "concurrency: 1"}, namespace="configured", image="proxyv2:1.29.3-distroless"),
)  # fmt: skip

_MOVED = case("default-tag-moved", "canary", ENABLED)
_TAG_MOVED = (
    _MOVED,
    case("moved-by-wish", "canary", PLAIN, {INJECT: "true"}),
    case("moved-by-name", "canary", {REVISION: "default"}),
    case("moved-by-name-of-the-pod", "canary", PLAIN, {REVISION: "default"}),
    case("moved-and-refused", None, ENABLED, {INJECT: "false"}),
    case("moved-nothing-else", None, PLAIN),
    case("other-tag-stays", "canary", {REVISION: "prod"}),
)

_GONE = case("no-default", None, ENABLED)
_NO_DEFAULT = (
    _GONE,
    case("no-default-and-wish", None, PLAIN, {INJECT: "true"}),
    case("no-default-but-its-name", None, {REVISION: "default"}),
    case("no-default-but-its-name-by-pod", None, PLAIN, {REVISION: "default"}),
    case("revision-needs-no-default", "canary", CANARY),
    case("revision-of-the-pod-needs-no-default", "canary", PLAIN, {REVISION: "canary"}),
    case("tag-needs-no-default", "canary", {REVISION: "prod"}),
)

_TWICE = case("twice-injected", "canary", ENABLED)
_SECOND_DEFAULT = (
    _TWICE,
    case("twice-refused", None, ENABLED, {INJECT: "false"}),
    case("once-by-name", "canary", CANARY),
)

_LEFT = case("left-to-the-second", "canary", ENABLED)
_FIRST_DEFAULT_REFUSES = (
    _LEFT,
    case("refused-by-neither", "canary", ENABLED, {"mark": "always"}),
)

_AUTO = case("unlabelled", "default", PLAIN)

SET_UPS = (
    SetUp("installed", _INSTALLED),
    SetUp("selectors", _SELECTORS, (_NEVER,), _injector("default", _with_selectors)),
    SetUp("policy-disabled", _POLICY_DISABLED, (_DISABLED,), _injector("canary", _with_policy("disabled"))),
    SetUp("policy-illegal", _POLICY_ILLEGAL, (_ILLEGAL,), _injector("default", _with_policy("paused"))),
    SetUp("edited-template", _OTHER_TEMPLATE, (_HARDENED,), _injector("canary", _with_other_template)),
    SetUp("values", _OTHER_VALUES, (_VARIANT,), _edited("istio-sidecar-injector-canary", "values", _with_other_values)),
    SetUp("mesh-config", _MESH_CONFIG, (_DISTROLESS,), _edited("istio-canary", "mesh", _with_image_type)),
    SetUp("proxy-configs", _PROXY_CONFIGS, (_WIDE, _SPACE, _PAY), _proxy_configs),
    SetUp("default-tag-moved", _TAG_MOVED, (_MOVED,), _default_tag_moved),
    SetUp("no-default", _NO_DEFAULT, (_GONE,), _default_tag_removed),
    SetUp("second-default", _SECOND_DEFAULT, (_TWICE,), _second_default),
    SetUp("first-default-refuses", _FIRST_DEFAULT_REFUSES, (_LEFT,), _first_default_refuses),
    SetUp("namespaces-by-default", _table(auto=True), (_AUTO,), _namespaces_by_default),
)
