"""Stories of injection: workloads that would lose their sidecar, or get another one than the injector gives."""

from __future__ import annotations

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, read
from mesh.survey.reasons import Reason
from tests.e2e.reasons.place import Place, Story


def _label_lost(place: Place) -> str:
    workload = place.make()
    place.relabel("istio-injection-")
    return workload


def _other_revision(place: Place) -> str:
    """Leaves of the requested revision nothing but a webhook."""
    workload = place.make()
    left = read(place.mesh, "mutatingwebhookconfiguration", "istio-sidecar-injector")
    left["metadata"] = {
        "name": f"left-{place.namespace}",
        "labels": {"app": "sidecar-injector", "istio.io/rev": "retired"},
    }
    left["webhooks"] = [one for one in left["webhooks"] if one["name"].startswith("rev.namespace.")]
    selectors = {"namespaceSelector": {"matchLabels": {"istio.io/rev": "retired"}}, "objectSelector": {}}
    left["webhooks"][0] |= {**selectors, "clientConfig": {"url": "https://127.0.0.1:1/inject"}}
    apply(place.mesh, left)
    place.relabel("istio-injection-", "istio.io/rev=retired")
    return workload


def _inject_again(place: Place) -> None:
    place.relabel("istio.io/rev-", "istio-injection=enabled")


def _template_broken(place: Place) -> str:
    workload = place.make(progressDeadlineSeconds=600)
    place.release(**{"proxy.istio.io/config": "no: [yaml"})
    return workload


def _repair_template(place: Place) -> None:
    place.release(**{"proxy.istio.io/config": None})


def _created_before_injection(place: Place) -> str:
    workload = place.make()
    place.relabel("istio-injection=enabled")
    return workload


def _rewrite_image(place: Place) -> None:
    """Rolls out a release whose Pods then get the old proxy."""
    old = _live_proxy(place)
    place.release(release="2")
    place.kubectl("rollout", "status", f"deployment/{place.name}", "--timeout=30s")
    wait_for("its old Pods to go", lambda: len(place.pods()) == 2)
    for pod in place.pods():
        place.kubectl("set", "image", f"pod/{pod}", f"istio-proxy={old}")


def _image_policy(place: Place) -> str:
    """An admission policy gives new Pods the proxy that the running ones have."""
    workload = place.make()
    group, binding = "admissionregistration.k8s.io/v1", {"policyName": place.namespace}
    sidecar = f"Object.spec.initContainers{{name: 'istio-proxy', image: '{_live_proxy(place)}'}}"
    spec = {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                # A condition of the policy would be evaluated before the injector has run, and never again.
                "applyConfiguration": {
                    "expression": "object.spec.?initContainers.orValue([]).exists(one, one.name == 'istio-proxy')"
                    f" ? Object{{spec: Object.spec{{initContainers: [{sidecar}]}}}} : Object{{}}"
                },
            }
        ],
    }
    metadata = {"name": place.namespace}
    apply(
        place.mesh,
        {"apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {"apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": metadata, "spec": binding},
    )
    return workload


def _remove_policy(place: Place) -> None:
    policy = f"mutatingadmissionpolicy/{place.namespace}"
    place.kubectl("delete", policy, f"mutatingadmissionpolicybinding/{place.namespace}")


def _live_proxy(place: Place) -> str:
    pod = read(place.mesh, "pods", "-n", place.namespace)["items"][0]
    image: str = next(one["image"] for one in pod["spec"]["initContainers"] if one["name"] == "istio-proxy")
    return image


STORIES = (
    Story("label-lost", Reason.WOULD_LOSE_SIDECAR, _label_lost, "no injection label", _inject_again),
    Story("other-revision", Reason.UNKNOWN_REVISION, _other_revision, "istio.io/rev=retired", _inject_again),
    Story("template-broken", Reason.UNKNOWN_PROXY, _template_broken, "injector: ", _repair_template),
    Story(
        "created-before",
        Reason.SIDECAR_MISSING,
        _created_before_injection,
        "istio-injection=enabled",
        labels=(("story", "yes"),),
    ),
    Story(
        "image-rewritten",
        Reason.IMAGE_REWRITTEN,
        lambda place: place.make(),
        "expected proxy",
        meanwhile=_rewrite_image,
    ),
    Story("image-policy", Reason.INJECTION_FAILED, _image_policy, "expected proxy: ", _remove_policy),
)
