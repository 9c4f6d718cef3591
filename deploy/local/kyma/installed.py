"""What the module does to and reads from an installed Istio (KI internal/reconciliations, pkg/lib/gatherer)."""

import json

from deploy.local.kyma.api import Api, Object, path_of
from deploy.local.kyma.objects import MODULE, MODULE_LABEL, NAMESPACE
from deploy.local.kyma.versions import parse

ISTIO_SYSTEM = "istio-system"
VERSIONED = {"discovery", "istio-proxy", "install-cni"}
NAMESPACE_LABELS = {
    "operator.kyma-project.io/managed-by": "kyma",
    "namespaces.warden.kyma-project.io/validate": "enabled",
}
DISCLAIMER = {
    "istios.operator.kyma-project.io/managed-by-disclaimer": (
        "DO NOT EDIT - This resource is managed by Kyma.\n"
        "Any modifications are discarded and the resource is reverted to the original state."
    )
}


def label_installed(api: Api) -> None:
    """Mark what istioctl installed as the module's, Pods included; the first time this rolls the control plane."""
    labels = {MODULE_LABEL: MODULE}
    patch = {"metadata": {"labels": labels}, "spec": {"template": {"metadata": {"labels": labels}}}}
    for kind in ("Deployment", "DaemonSet"):
        for found in api.items(path_of(kind, ISTIO_SYSTEM), label_selector="operator.istio.io/component"):
            api.patch(path_of(kind, ISTIO_SYSTEM, found["metadata"]["name"]), patch)
    namespace = {"metadata": {"labels": NAMESPACE_LABELS, "annotations": DISCLAIMER}}
    api.patch(path_of("Namespace", name=ISTIO_SYSTEM), namespace)


def pods_of_another_version(api: Api, tag: str) -> str:
    """Why the module does not go on yet: a Pod of its own in istio-system runs something else; empty if none does.

    VerifyIstioPodsVersion: no init containers, no Pods that are going away, what follows the patch is dropped.
    """
    target = parse(tag)
    for pod in api.items(path_of("Pod", ISTIO_SYSTEM), label_selector=f"{MODULE_LABEL}={MODULE}"):
        for container in pod["spec"]["containers"] if "deletionTimestamp" not in pod["metadata"] else []:
            found = container["image"].rpartition(":")[2]
            if container["name"] in VERSIONED and parse(found) != target:
                versions = [".".join(map(str, version)) for version in (parse(found), target)]
                return "istio-system Pods version {} do not match istio operator version {}".format(*versions)
    return ""


def proxy_resources(api: Api) -> Object:
    """The requests and limits that the injector gives a sidecar."""
    injector = api.get(path_of("ConfigMap", ISTIO_SYSTEM, "istio-sidecar-injector"))
    resources: Object = json.loads(injector["data"]["values"])["global"]["proxy"].get("resources", {})
    return resources


def cni_wanted(api: Api) -> bool:
    """ConfigMap kyma-system/istio-features can switch the CNI off."""
    features = api.find(path_of("ConfigMap", NAMESPACE, "istio-features")) or {}
    return not json.loads(features.get("data", {}).get("features", "{}")).get("disableCni", False)


def user_filter_on_gateway(api: Api) -> str:
    """A user's EnvoyFilter on the ingress gateway, by name: it keeps the CR in Warning permanently, upgrade or not."""
    for found in api.items(f"/apis/networking.istio.io/v1alpha3/namespaces/{ISTIO_SYSTEM}/envoyfilters"):
        labels = found.get("spec", {}).get("workloadSelector", {}).get("labels", {})
        if MODULE_LABEL not in found["metadata"].get("labels", {}) and labels.get("istio") == "ingressgateway":
            return f"EnvoyFilter {ISTIO_SYSTEM}/{found['metadata']['name']}"
    return ""
