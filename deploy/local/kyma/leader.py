"""Which manager Pod acts, as whom, and when: what the leader election and the work queue of the module do."""

import logging
import time
from pathlib import Path

import yaml

from deploy.local.kyma.api import Api, Object, path_of
from deploy.local.kyma.module_operator import Install, ModuleOperator, OperatorPace
from deploy.local.kyma.objects import MANAGER, MANAGER_SELECTOR, NAMESPACE, Images

TOKEN_SECONDS = 30 * 24 * 3600
FIRST_BACK_OFF, LONGEST_BACK_OFF = 1.0, 1000.0
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGER_SELECTOR.items())

log = logging.getLogger("istio-controller-manager")


class Leader:
    """Gives the lead to one manager Pod after the other and reconciles when the module would."""

    def __init__(self, admin: Api, kubeconfig: Path, install: Install, pace: OperatorPace) -> None:
        """`kubeconfig` is the file that the manager's identity is written to; the administrator's lies beside it."""
        self._admin = admin
        self._kubeconfig = kubeconfig
        self._install = install
        self._pace = pace
        self._pod = ""
        self._operator: ModuleOperator | None = None
        self._handled: dict[str, object] = {}  # by the CR's uid: what its last reconcile was for
        self._due: dict[str, float] = {}
        self._back_off: dict[str, float] = {}

    def watched(self) -> list[tuple[str, dict[str, str | int]]]:
        """The Istio CRs, the manager's Pods, and the ConfigMaps that the module watches."""
        return [
            (path_of("Istio", NAMESPACE), {}),
            (path_of("Pod", NAMESPACE), {"label_selector": SELECTOR}),
            (path_of("ConfigMap", NAMESPACE), {"field_selector": "metadata.name=istio-features"}),
        ]

    def reconcile(self) -> float | None:
        """Reconcile the CRs whose generation is new or whose time has come; returns when the next one is due."""
        operator = self._lead()
        if operator is None:
            return 1.0
        features = self._admin.find(path_of("ConfigMap", NAMESPACE, "istio-features")) or {"metadata": {}}
        for istio in self._admin.items(path_of("Istio", NAMESPACE)):
            uid, generation = istio["metadata"]["uid"], istio["metadata"]["generation"]
            reason = (self._pod, generation, features["metadata"].get("resourceVersion"))
            fresh = self._handled.get(uid) != reason
            if "deletionTimestamp" in istio["metadata"] or not (fresh or time.monotonic() >= self._due.get(uid, 0.0)):
                continue
            changed = generation != self._generation(uid)
            self._handled[uid] = reason
            again = operator.reconcile(istio, changed=changed)
            back_off = self._back_off.pop(uid, FIRST_BACK_OFF)
            if again is None:
                self._back_off[uid] = min(2 * back_off, LONGEST_BACK_OFF)
            self._due[uid] = time.monotonic() + (back_off if again is None else again)
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _generation(self, uid: str) -> object:
        handled = self._handled.get(uid)
        return handled[1] if isinstance(handled, tuple) else None

    def _lead(self) -> ModuleOperator | None:
        """The operator of the Pod that leads: the leading one while it is there, else the oldest that is Ready."""
        pods = self._admin.items(path_of("Pod", NAMESPACE), label_selector=SELECTOR)
        if self._operator and any(pod["metadata"]["uid"] == self._pod for pod in pods):
            return self._operator
        ready = [pod for pod in pods if _is_ready(pod)]
        if not ready:
            return None
        pod = min(ready, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        images = _installs(pod)
        log.info("Pod %s leads, it installs %s", pod["metadata"]["name"], images.of("proxyv2"))
        time.sleep(self._pace.start)
        self._pod = pod["metadata"]["uid"]
        self._operator = ModuleOperator(self._authenticate(), images, self._install, self._pace)
        return self._operator

    def _authenticate(self) -> Api:
        """Become the manager's ServiceAccount: a token that the API server issues, in a kubeconfig of its own."""
        asked: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        account = path_of("ServiceAccount", NAMESPACE, MANAGER)
        token = self._admin.post(f"{account}/token", asked)["status"]["token"]
        config = yaml.safe_load(self._kubeconfig.with_name("kubeconfig").read_text())
        config["users"] = [{"name": MANAGER, "user": {"token": token}}]
        for context in config["contexts"]:
            context["context"]["user"] = MANAGER
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(yaml.safe_dump(config))
        return Api(self._kubeconfig)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _installs(pod: Object) -> Images:
    manager = next(container for container in pod["spec"]["containers"] if container["name"] == "manager")
    proxy: str = next(entry["value"] for entry in manager["env"] if entry["name"] == "proxyv2")
    repository, _, tag = proxy.rpartition(":")
    return Images(repository.rpartition("/")[0], tag)
