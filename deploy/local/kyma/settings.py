"""What of an Istio CR becomes an Istio setting, and which changes restart what (KI docs and predicates)."""

import json
from typing import Any

from deploy.local.kyma.api import Object

APPLIED = "operator.kyma-project.io/lastAppliedConfiguration"
GATEWAY_KEYS = ("numTrustedProxies", "forwardClientCertDetails", "trustDomain")
DEFAULT_CONFIG = "meshConfig.defaultConfig"
SETTINGS = {
    ("config", "numTrustedProxies"): f"{DEFAULT_CONFIG}.gatewayTopology.numTrustedProxies",
    ("config", "forwardClientCertDetails"): f"{DEFAULT_CONFIG}.gatewayTopology.forwardClientCertDetails",
    ("config", "trustDomain"): "meshConfig.trustDomain",
    ("config", "enableDNSProxying"): f"{DEFAULT_CONFIG}.proxyMetadata.ISTIO_META_DNS_CAPTURE",
    ("config", "proxyStatsMatcher"): f"{DEFAULT_CONFIG}.proxyStatsMatcher",
    ("config", "telemetry", "metrics", "prometheusMerge"): "meshConfig.enablePrometheusMerge",
    ("components", "proxy", "k8s", "resources"): "values.global.proxy.resources",
}


def istio_settings(istio: Object, *, cni: bool) -> list[str]:
    """`key=value` as istioctl's --set takes them; nothing for what the CR does not say."""
    made = [] if cni else ["components.cni.enabled=false"]
    for path, setting in SETTINGS.items():
        value: Any = istio.get("spec", {})
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        made += _flatten(setting, value)
    return made


def last_applied(istio: Object) -> Object:
    """What the module last applied: the CR's spec and `IstioTag`; empty before the first install."""
    applied: Object = json.loads(istio["metadata"].get("annotations", {}).get(APPLIED, "{}"))
    return applied


def gateway_changed(spec: Object, applied: Object) -> bool:
    """The ingress gateway must restart (predicates/ingressgateway.go, networkpolicies apart)."""
    now, before = spec.get("config", {}), applied.get("config", {})
    return any(now.get(key) != before.get(key) for key in GATEWAY_KEYS) or _stats(now) != _stats(before)


def with_gateway_of(spec: Object, applied: Object) -> Object:
    """What was applied, with the gateway's settings of `spec` (KI UpdateLastAppliedIngressGatewayConfig)."""
    now = {key: value for key, value in spec.get("config", {}).items() if key in GATEWAY_KEYS}
    rest = {key: value for key, value in applied.get("config", {}).items() if key not in GATEWAY_KEYS}
    return {key: value for key, value in applied.items() if key != "IstioTag"} | {"config": rest | now}


def everything_changed(spec: Object, applied: Object) -> bool:
    """Every sidecar must restart, whatever it runs (predicates/dns_proxying.go, proxy_stats_matcher.go)."""
    now, before = spec.get("config", {}), applied.get("config", {})
    return now.get("enableDNSProxying") != before.get("enableDNSProxying") or _stats(now) != _stats(before)


def _stats(config: Object) -> list[str]:
    return sorted(config.get("proxyStatsMatcher", {}).get("inclusionRegexps", []))


def _flatten(setting: str, value: Any) -> list[str]:  # noqa: ANN401  # any JSON value
    if value is None:
        return []
    if isinstance(value, dict):
        return [line for key, part in value.items() for line in _flatten(f"{setting}.{key}", part)]
    if isinstance(value, list):
        return [line for index, part in enumerate(value) for line in _flatten(f"{setting}[{index}]", part)]
    return [f"{setting}={json.dumps(value) if isinstance(value, bool) else value}"]
