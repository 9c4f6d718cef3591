"""The objects that Kyma keeps in a cluster for its Istio module, as manifests."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import yaml

from deploy.local.kyma.api import Object
from deploy.local.kyma.versions import istio_of

NAMESPACE = "kyma-system"
MODULE = "istio"
MANAGER = "istio-controller-manager"
MODULE_LABEL = "kyma-project.io/module"
COMPONENT = "kyma-project.io/module/istio"
REGISTRY = "europe-docker.pkg.dev/kyma-project/prod"
OPERATOR_GROUP = "operator.kyma-project.io"
MANAGER_SELECTOR = {
    "app.kubernetes.io/component": "istio-operator.kyma-project.io",
    "control-plane": "controller-manager",
}


class Images(NamedTuple):
    """The images of one Istio version: all from one hub, with one tag (KI config/manager/env-images.yaml)."""

    hub: str
    tag: str

    def of(self, name: str) -> str:
        """The whole image string of `pilot`, `proxyv2` or `install-cni`."""
        return f"{self.hub}/{name}:{self.tag}"


class Naming(NamedTuple):
    """Where the mesh's images come from and what follows the version in their tags (`-distroless` or nothing)."""

    hub: str
    suffix: str

    def images(self, module: str) -> Images:
        """The images that a module version installs."""
        return Images(self.hub, istio_of(module) + self.suffix)


def custom_resource_definitions() -> list[Object]:
    """Kyma, ModuleReleaseMeta, ModuleTemplate and Istio."""
    return list(yaml.safe_load_all(Path(__file__).with_name("crds.yaml").read_text()))


def namespace() -> Object:
    """`kyma-system` as KLM creates it: injected by its label."""
    labels = {
        "operator.kyma-project.io/managed-by": "kyma",
        "istio-injection": "enabled",
        "namespaces.warden.kyma-project.io/validate": "enabled",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def kyma(channel: str = "regular") -> Object:
    """The Kyma CR with the Istio module on this channel."""
    module = {"name": MODULE, "channel": channel, "customResourcePolicy": "CreateAndDelete", "managed": True}
    return _kyma_object("Kyma", "v1beta2", "default", {"channel": "regular", "modules": [module]})


def istio() -> Object:
    """The module's default CR. It has no version."""
    made = _kyma_object("Istio", "v1alpha2", "default", {"compatibilityMode": False})
    made["metadata"]["labels"] = {MODULE_LABEL: MODULE, "app.kubernetes.io/name": "default"}
    return made


def module_release_meta(channels: dict[str, str]) -> Object:
    """Which version each channel of the module stands for."""
    entries = [{"channel": name, "version": version} for name, version in channels.items()]
    spec = {"moduleName": MODULE, "ocmComponentName": COMPONENT, "channels": entries}
    return _kyma_object("ModuleReleaseMeta", "v1beta2", MODULE, spec)


def template_name(version: str) -> str:
    """`istio-1.30.0` (KLM CreateModuleTemplateName)."""
    return f"{MODULE}-{version}"


def module_template(version: str, images: Images, *, requires_downtime: bool) -> Object:
    """What one module version consists of; its component descriptor lists the images."""
    raw = f"https://github.com/kyma-project/istio/releases/download/{version}/istio-manager.yaml"
    spec = {
        "moduleName": MODULE,
        "version": version,
        "requiresDowntime": requires_downtime,
        "info": {
            "repository": "https://github.com/kyma-project/istio",
            "documentation": "https://kyma-project.io/#/istio/user/README",
        },
        "manager": {
            "group": "apps", "version": "v1", "kind": "Deployment", "namespace": NAMESPACE, "name": MANAGER,
        },
        "data": istio(),
        "resources": [{"name": "rawManifest", "link": raw}],
        "associatedResources": [{"group": OPERATOR_GROUP, "version": "v1alpha2", "kind": "Istio"}],
        "descriptor": _descriptor(version, images),
    }  # fmt: skip
    return _kyma_object("ModuleTemplate", "v1beta2", template_name(version), spec)


def _descriptor(version: str, images: Images) -> Object:
    """A component descriptor of the Open Component Model, schema v2, as module releases carry it."""
    shipped = {name: images.of(name) for name in ("pilot", "proxyv2", "install-cni")}
    resources: list[Object] = [
        {
            "name": name,
            "version": image.rpartition(":")[2],
            "type": "ociArtifact",
            "relation": "external",
            "labels": [{"name": "scan.security.kyma-project.io/type", "value": "third-party-image", "version": "v1"}],
            "access": {"type": "ociArtifact", "imageReference": image},
        }
        for name, image in ({"istio-manager": manager_image(version)} | shipped).items()
    ]
    digest = f"sha256:{hashlib.sha256(version.encode()).hexdigest()}"
    access = {"type": "localBlob", "localReference": digest, "mediaType": "application/x-tar"}
    raw = {"name": "raw-manifest", "version": version, "type": "directoryTree", "relation": "local", "access": access}
    return {
        "meta": {"schemaVersion": "v2"},
        "component": {
            "name": COMPONENT,
            "version": version,
            "provider": "kyma-project.io",
            "repositoryContexts": [
                {"type": "OCIRegistry", "componentNameMapping": "urlPath", "baseUrl": REGISTRY.partition("/")[0],
                 "subPath": REGISTRY.partition("/")[2]},
            ],
            "componentReferences": [],
            "resources": [*resources, raw],
            "sources": [
                {"name": "module-sources", "type": "Github", "version": version,
                 "access": {"type": "gitHub", "repoUrl": "https://github.com/kyma-project/istio"}},
            ],
        },
    }  # fmt: skip


def manager_image(version: str) -> str:
    """The module operator's own image; its tag is the module version."""
    return f"{REGISTRY}/istio-manager:{version}"


def manager_rights() -> list[Object]:
    """The module operator's identity and what it may do (KI kubebuilder markers of istio_controller.go, shortened)."""
    everything = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

    def rule(groups: str, resources: str, verbs: list[str] = everything) -> Object:
        return {"apiGroups": groups.split(" "), "resources": resources.split(" "), "verbs": verbs}

    istio_groups = "networking.istio.io security.istio.io telemetry.istio.io extensions.istio.io install.istio.io"
    core = "configmaps endpoints events namespaces pods secrets serviceaccounts services services/status"
    access = "clusterroles clusterrolebindings roles rolebindings"
    gateways = "gateway.networking.k8s.io gateway.networking.x-k8s.io inference.networking.k8s.io"
    rules = [
        rule("", core),
        rule("", "nodes replicationcontrollers resourcequotas", ["get", "list", "watch"]),
        rule("", "pods/status serviceaccounts/token", ["create", "patch", "update"]),
        rule("apps", "daemonsets deployments deployments/finalizers replicasets statefulsets"),
        rule("admissionregistration.k8s.io", "*"),
        rule("apiextensions.k8s.io", "customresourcedefinitions"),
        rule("autoscaling", "horizontalpodautoscalers"),
        rule("batch", "jobs cronjobs", ["get", "list", "watch"]),
        rule("policy", "poddisruptionbudgets"),
        rule("rbac.authorization.k8s.io", access, [*everything, "bind", "escalate"]),
        rule("networking.k8s.io", "networkpolicies"),
        rule("networking.k8s.io", "ingresses ingresses/status ingressclasses", ["get", "list", "watch", "update"]),
        rule("coordination.k8s.io", "leases"),
        rule("discovery.k8s.io", "endpointslices", ["get", "list", "watch"]),
        rule("k8s.cni.cncf.io", "network-attachment-definitions"),
        rule(istio_groups, "*"),
        rule(gateways, "*"),
        rule("authentication.k8s.io", "tokenreviews", ["create"]),
        rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
        rule(OPERATOR_GROUP, "istios istios/status istios/finalizers"),
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": MANAGER}
    subject = {"kind": "ServiceAccount", "name": MANAGER, "namespace": NAMESPACE}
    rbac = "rbac.authorization.k8s.io/v1"
    metadata = {"name": MANAGER, "labels": {MODULE_LABEL: MODULE}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata | {"namespace": NAMESPACE}},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        {"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": role,
         "subjects": [subject]},
    ]  # fmt: skip


def manager_deployment(version: str, images: Images) -> Object:
    """The module operator of one version; what it will install stands in its environment (KI config/manager)."""
    labels = MANAGER_SELECTOR | {
        "app.kubernetes.io/name": "istio-operator",
        "app.kubernetes.io/version": version,
        MODULE_LABEL: MODULE,
    }
    container = {
        "name": "manager",
        "image": manager_image(version),
        "command": ["/manager"],
        "args": ["--leader-elect", "--health-probe-bind-address=:8081", "--metrics-bind-address=:8080"],
        "env": [{"name": name, "value": images.of(name)} for name in ("pilot", "proxyv2", "install-cni")],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "4", "memory": "4Gi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": MANAGER, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": MANAGER_SELECTOR},
            "template": {
                "metadata": {
                    "labels": labels | {"sidecar.istio.io/inject": "false"},
                    "annotations": {"kubectl.kubernetes.io/default-container": "manager"},
                },
                "spec": {
                    "priorityClassName": "istio-kyma-priority",
                    "serviceAccountName": MANAGER,
                    "terminationGracePeriodSeconds": 10,
                    "containers": [container],
                },
            },
        },
    }


def _kyma_object(kind: str, version: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": f"{OPERATOR_GROUP}/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def timestamp() -> str:
    """Now, as Kubernetes writes it: RFC 3339 with seconds, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
