"""Every label, annotation, namespace, container and field manager that the product reads or writes, with its source."""

from __future__ import annotations

# Kubernetes: kubernetes.io/docs/reference/labels-annotations-taints.

#: Annotation of a Pod template that `kubectl rollout restart` writes, and this service as well.
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
#: Annotation that `kubectl apply` writes; as long as the object itself.
LAST_APPLIED_CONFIGURATION = "kubectl.kubernetes.io/last-applied-configuration"
#: Label with the version of what an object belongs to.
APP_VERSION = "app.kubernetes.io/version"
#: Namespace whose UID stands for the cluster.
SYSTEM_NAMESPACE = "kube-system"

# Argo Rollouts: argoproj/argo-rollouts, utils/annotations/annotations.go.

#: Annotation of a Rollout whose template lives elsewhere: the generation of the workload that has the template.
TEMPLATE_GENERATION = "rollout.argoproj.io/workload-generation"

# Istio: istio/api, annotation/annotations.gen.go and label/labels.gen.go, where no other source is given.

#: Namespace of the control plane.
ISTIO_NAMESPACE = "istio-system"
#: Label of a namespace that asks for injection by the default revision, or against it.
NAMESPACE_INJECTION = "istio-injection"
#: Label of a Pod that asks for injection or against it.
INJECT = "sidecar.istio.io/inject"
#: Label that names the revision of a control plane, or asks for injection by it.
REVISION = "istio.io/rev"
#: Label of a webhook configuration: the revision tag.
REVISION_TAG = "istio.io/tag"
#: Labels by which people ask for injection or against it. What counts are the selectors of the live webhooks.
INJECTION_LABELS = (NAMESPACE_INJECTION, REVISION, INJECT)
#: Annotation that pins the image of the sidecar.
PROXY_IMAGE = "sidecar.istio.io/proxyImage"
#: Annotations that change which image the injector writes.
PROXY_IMAGE_TYPE = "sidecar.istio.io/proxyImageType"
PROXY_CONFIG = "proxy.istio.io/config"
#: Annotation that names the injection templates of a Pod.
INJECTION_TEMPLATES = "inject.istio.io/templates"
#: Annotation that an injector writes into each Pod to which it adds a sidecar.
SIDECAR_STATUS = "sidecar.istio.io/status"
#: Annotation of a Pod that ambient mode captured. Source: istio/istio, pkg/config/constants.
AMBIENT_REDIRECTION = "ambient.istio.io/redirection"
#: Namespaces that are never injected. Source: istio/istio, pkg/kube/inject/initializer.go, IgnoredNamespaces.
IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
#: Containers that the injector adds: the sidecar, and the one that redirects traffic or checks that CNI does.
#: Source: istio/istio, manifests/charts/istio-control/istio-discovery/files/injection-template.yaml.
PROXY_CONTAINER = "istio-proxy"
INIT_CONTAINER = "istio-init"
VALIDATION_CONTAINER = "istio-validation"

# Kyma.

#: Namespace of Kyma's own workloads and custom resources.
KYMA_NAMESPACE = "kyma-system"
#: Label of what a Kyma module installs. Source: kyma-project/community, docs/contributor/module-development.
KYMA_MODULE = "kyma-project.io/module"
#: Annotations of workloads, Pod templates and namespaces that steer restarts.
#: Source: kyma-project/istio, docs/contributor/adr/0018-restarter-component.md.
EXCLUDE_FROM_RESTART = "restarter.istio-operator.kyma-project.io/exclude"
MAINTENANCE_WINDOW = "restarter.istio-operator.kyma-project.io/maintenance-window"
#: Annotation of a Pod template that the Istio module writes: internal to it, read to tell whose restart is under way.
MODULE_RESTARTED_AT = "istio-operator.kyma-project.io/restartedAt"
#: Annotation of the Istio CR with the configuration that the module applied last.
MODULE_LAST_APPLIED = "operator.kyma-project.io/lastAppliedConfiguration"
#: Annotation of a Pod whose proxy must be replaced by hand. Source: kyma-project/kyma#13869.
PROXY_RESET_WARNING = "istio.reconciler.kyma-project.io/proxy-reset-warning"

# This service's own.

#: Field manager of every write, source of every Event, user of every question to the injector.
FIELD_MANAGER = "kyma-upgrade"
#: Namespace of the worker, its Lease and the hold.
HOME_NAMESPACE = "kyma-upgrade"
#: Namespace that is labelled for injection and always empty: for dry-run Pods only.
PROBE_NAMESPACE = "kyma-upgrade-probe"
#: Names in HOME_NAMESPACE: the ConfigMap that puts the hold in force, the Lease of the running upgrade, and a
#: Deployment of no replicas on which the hold is tried.
HOLD_CONFIG_MAP = "hold"
UPGRADE_LEASE = "upgrade"
HOLD_PROBE_DEPLOYMENT = "hold-probe"
#: ValidatingAdmissionPolicy and its binding that refuse the module's restarts while the hold is in force.
HOLD_POLICY = "kyma-upgrade-hold"
#: Label that puts a workload, or all of a namespace, into a wave.
WAVE = "upgrade.kyma-project.io/wave"
#: Annotation of a Pod with a copy of the warning that this service wrote, to detect that the warning was edited.
WRITTEN_WARNING = "upgrade.kyma-project.io/proxy-reset-warning"
#: Annotation of a Pod with the warning that stood there before this service wrote its own.
EARLIER_WARNING = "upgrade.kyma-project.io/earlier-proxy-reset-warning"
