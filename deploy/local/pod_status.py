"""Pod statuses as a kubelet writes them: kwok's Go templates (with the functions of sprig), put together from parts.

kwok applies them as a strategic merge patch: conditions are merged by type, so that the scheduler's PodScheduled
stays; the statuses of containers are replaced.
"""

from __future__ import annotations

PREFIX = "behaviour.local-mesh"
"""Of the annotations that steer the simulated kubelets (stages.py)."""


def pod_status(
    phase: str,
    *,
    ready: str,
    reason: str | None = None,
    application: str,
    sidecar: str | None = None,
    because: tuple[str, str] | None = None,
) -> str:
    """The template of a whole Pod status.

    Args:
        phase: of the Pod.
        ready: status of the conditions Ready and ContainersReady.
        reason: reason of these conditions.
        application: state of the containers that are no sidecar, one of the constants of this module.
        sidecar: state of the sidecars, RUNNING by default: of a container called `istio-proxy`, and of
            init containers that are always restarted.
        because: reason and message of the Pod itself, unless its annotations say others.
    """
    sidecar = sidecar or RUNNING
    return "".join(
        [
            _HEAD,
            f"phase: {phase}\n",
            # Null takes away what an earlier status said.
            _because(*because) if because else "reason: null\nmessage: null\n",
            _conditions(ready, reason),
            _statuses("containerStatuses", ".spec.containers", 'eq .name "istio-proxy"', sidecar, application),
            _statuses("initContainerStatuses", ".spec.initContainers", 'eq .restartPolicy "Always"', sidecar, _DONE),
            _ADDRESSES,
        ]
    )


def _annotation(name: str, default: str) -> str:
    return f'or ( index $annotations "{PREFIX}/{name}" ) "{default}"'


def _state(body: str, *, ready: bool, started: bool, restarts: str = "0", pulled: bool = True) -> str:
    # containerd reports the digest of what it pulled; one made from the image's name stands in for it.
    image = 'printf "%s@sha256:%s" ( regexReplaceAll ":[^:/]+$" .image "" ) ( sha256sum .image ) | Quote'
    return (
        f"  imageID: {{{{ {image} }}}}\n" * pulled
        + f"  ready: {str(ready).lower()}\n  started: {str(started).lower()}\n  restartCount: {restarts}\n{body}"
    )


def _terminated(exit_code: int, reason: str) -> str:
    times = "".join(f"      {field}: {{{{ $now | Quote }}}}\n" for field in ("startedAt", "finishedAt"))
    return f"    terminated:\n      exitCode: {exit_code}\n      reason: {reason}\n{times}"


def _waiting(reason: str, message: str) -> str:
    return f"  state:\n    waiting:\n      reason: {reason}\n      message: {{{{ {message} | Quote }}}}\n"


_SINCE_NOW = "  state:\n    running:\n      startedAt: {{ $now | Quote }}\n"
_DONE = _state("  state:\n" + _terminated(0, "Completed"), ready=True, started=False)

RUNNING = _state(_SINCE_NOW, ready=True, started=True)
UNREADY = _state(_SINCE_NOW, ready=False, started=True)
COMPLETED = _state("  state:\n" + _terminated(0, "Completed"), ready=False, started=False)
KILLED = _state("  state:\n" + _terminated(137, "Error"), ready=False, started=False)
CRASH_LOOPING = _state(
    _waiting("CrashLoopBackOff", 'printf "back-off 5m0s restarting failed container=%s" .name')
    + "  lastState:\n"
    + _terminated(1, f"{{{{ {_annotation('reason', 'Error')} | Quote }}}}")
    + f"      message: {{{{ {_annotation('message', '')} | Quote }}}}\n",
    ready=False,
    started=False,
    restarts=f"{{{{ {_annotation('restarts', '7')} }}}}",
)
NOT_PULLED = _state(
    _waiting("ImagePullBackOff", 'printf "Back-off pulling image \\"%s\\"" .image'),
    ready=False,
    started=False,
    pulled=False,
)

_HEAD = """
{{ $now := Now }}
{{ $annotations := or .metadata.annotations dict }}
"""

_ADDRESSES = """
startTime: {{ or .status.startTime $now | Quote }}
{{ if not .status.podIP }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) .metadata.uid .metadata.name .metadata.namespace }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ end }}
"""

_GATES = """
{{ range .spec.readinessGates }}
- type: {{ .conditionType | Quote }}
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
"""


def _because(reason: str, message: str) -> str:
    return (
        f"reason: {{{{ {_annotation('reason', reason)} | Quote }}}}\n"
        f"message: {{{{ {_annotation('message', message)} | Quote }}}}\n"
    )


def _conditions(ready: str, reason: str | None) -> str:
    return "".join(
        [
            f"conditions:\n{_GATES}",
            _condition("Initialized", "True", None),
            _condition("ContainersReady", ready, reason),
            _condition("Ready", ready, reason),
        ]
    )


def _condition(kind: str, status: str, reason: str | None) -> str:
    since = "{{ $now | Quote }}"
    return f'- type: {kind}\n  status: "{status}"\n  reason: {reason or "null"}\n  lastTransitionTime: {since}\n'


def _statuses(field: str, containers: str, is_sidecar: str, sidecar: str, other: str) -> str:
    return (
        f"{field}:\n{{{{ range {containers} }}}}\n"
        "- name: {{ .name | Quote }}\n  image: {{ .image | Quote }}\n"
        f"{{{{ if {is_sidecar} }}}}\n{sidecar}{{{{ else }}}}\n{other}{{{{ end }}}}\n{{{{ end }}}}\n"
    )
