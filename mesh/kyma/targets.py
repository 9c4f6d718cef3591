"""Kyma's module management: what a channel would give, what would be refused, when an upgrade has finished.

Sources: kyma-project/lifecycle-manager (api/v1beta2, pkg/module/sync) and kyma-project/istio (api/v1alpha2,
internal/controller/istio_controller.go, internal/reconciliations/istio).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from mesh.errors import RefusedError
from mesh.istio.images import parse_image
from mesh.istio.versions import Version, parse_version, refusal_of_istio_update, refusal_of_module_update
from mesh.k8s.objects import Condition, Metadata, Pod, Workload
from mesh.k8s.rollout import rollout
from mesh.text import one_line
from mesh.wellknown import APP_VERSION, ISTIO_NAMESPACE, MODULE_LAST_APPLIED, PROXY_CONTAINER

MODULE = "istio"
MANAGER = "istio-controller-manager"
#: Asks for the data plane alone: the control plane is where it should be.
CURRENT = "current"

#: Module versions and the Istio they carry, for templates whose descriptor does not tell; first, last, Istio.
#: Read from the tags of kyma-project/istio, internal/istiooperator/istio-operator.yaml.
_CARRIED = (
    ("1.25.0", "1.25.2", "1.28.2"),
    ("1.25.3", "1.26.2", "1.28.3"),
    ("1.26.3", "1.26.6", "1.28.5"),
    ("1.26.7", "1.26.8", "1.28.6"),
    ("1.27.0", "1.27.1", "1.29.1"),
    ("1.27.2", "1.27.3", "1.29.2"),
    ("1.27.4", "1.27.4", "1.29.3"),
    ("1.28.0", "1.30.0", "1.30.2"),
)

#: Reasons of the Istio CR's conditions that leave it in Warning though the control plane is done.
_HARMLESS_WARNINGS = frozenset({"ProxySidecarManualRestartRequired", "IngressTargetingUserResourceFound"})
_VERSIONED_IMAGES = frozenset({"proxyv2", "pilot", "istio-proxy-fips", "istio-pilot-fips"})
_ISTIO_WORKLOADS = ("istiod", "istio-ingressgateway", "istio-egressgateway", "istio-cni-node")
_ISTIO_CONTAINERS = frozenset({"discovery", PROXY_CONTAINER, "install-cni"})


class _Object(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Common settings."""


class ModuleSpec(_Object, frozen=True):
    """One entry of the Kyma CR's `spec.modules`; an empty channel means the CR's own."""

    name: str = ""
    channel: str = ""
    managed: bool = True


class KymaSpec(_Object, frozen=True):
    """`spec` of the Kyma CR."""

    channel: str = ""
    modules: tuple[ModuleSpec, ...] = ()


class TrackedObject(_Object, frozen=True):
    """A reference in a module's status."""

    metadata: Metadata = Metadata()


class ModuleStatus(_Object, frozen=True):
    """One entry of `status.modules`. Version and state are not of one moment: see `finished`."""

    name: str = ""
    channel: str = ""
    version: str = ""
    state: str = ""
    message: str = ""
    maintenance: bool = False
    template: TrackedObject | None = None


class KymaStatus(_Object, frozen=True):
    """`status` of the Kyma CR."""

    state: str = ""
    modules: tuple[ModuleStatus, ...] = ()


class Kyma(_Object, frozen=True):
    """The Kyma CR `kyma-system/default`."""

    metadata: Metadata = Metadata()
    spec: KymaSpec = KymaSpec()
    status: KymaStatus = KymaStatus()

    @property
    def module(self) -> ModuleSpec | None:
        """The Istio module's entry in the spec."""
        return next((one for one in self.spec.modules if one.name == MODULE), None)

    @property
    def module_index(self) -> int:
        """Where that entry stands, for a JSON patch; -1 when there is none."""
        return next((i for i, one in enumerate(self.spec.modules) if one.name == MODULE), -1)

    @property
    def module_status(self) -> ModuleStatus:
        """The Istio module's status, empty when there is none yet."""
        return next((one for one in self.status.modules if one.name == MODULE), ModuleStatus())

    @property
    def channel(self) -> str:
        """The channel in force for the Istio module."""
        module = self.module
        return (module.channel if module else "") or self.spec.channel or "regular"


class ChannelVersion(_Object, frozen=True):
    """One channel of a ModuleReleaseMeta."""

    channel: str = ""
    version: str = ""


class ReleaseMetaSpec(_Object, frozen=True):
    """`spec` of a ModuleReleaseMeta."""

    channels: tuple[ChannelVersion, ...] = ()


class ModuleReleaseMeta(_Object, frozen=True):
    """Which version each channel gives."""

    spec: ReleaseMetaSpec = ReleaseMetaSpec()


class Access(_Object, frozen=True):
    """Where a component's resource lies."""

    image_reference: str = ""


class ComponentResource(_Object, frozen=True):
    """One resource of a component."""

    access: Access = Access()


class Component(_Object, frozen=True):
    """An OCM component."""

    resources: tuple[ComponentResource, ...] = ()


class Descriptor(_Object, frozen=True):
    """An OCM component descriptor, as much of it as names images."""

    component: Component = Component()


class ModuleTemplateSpec(_Object, frozen=True):
    """`descriptor` is an OCM component descriptor, read loosely."""

    version: str = ""
    requires_downtime: bool = False
    descriptor: Any = None


class ModuleTemplate(_Object, frozen=True):
    """One version of a module."""

    metadata: Metadata = Metadata()
    spec: ModuleTemplateSpec = ModuleTemplateSpec()


class IstioStatus(_Object, frozen=True):
    """`status` of the Istio CR."""

    state: str = ""
    description: str = ""
    conditions: tuple[Condition, ...] = ()


class IstioResource(_Object, frozen=True):
    """The Istio CR `kyma-system/default`. It has no observedGeneration."""

    metadata: Metadata = Metadata()
    status: IstioStatus = IstioStatus()

    @property
    def installed_tag(self) -> str | None:
        """`IstioTag` of the last applied configuration: written right after each successful install."""
        try:
            applied = json.loads(self.metadata.annotation(MODULE_LAST_APPLIED) or "{}")
        except ValueError:
            return None
        tag = applied.get("IstioTag") if isinstance(applied, dict) else None
        return tag if isinstance(tag, str) else None

    @property
    def installed(self) -> Version | None:
        """The installed Istio version."""
        return parse_version(self.installed_tag or "")

    def condition(self, name: str) -> Condition | None:
        """The condition of that type."""
        return next((one for one in self.status.conditions if one.type == name), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that decides what can be reached from here."""

    kyma: Kyma
    istio: IstioResource
    channels: Mapping[str, str]
    templates: Mapping[str, ModuleTemplate]

    def carried(self, module_version: str) -> Version | None:
        """The Istio version that a module version carries."""
        template = self.templates.get(module_version)
        return (carried_by_descriptor(template.spec.descriptor) if template else None) or carried_by_table(
            module_version
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Where an upgrade goes. `istio` is None only if nothing in the cluster tells what the module carries."""

    channel: str
    module: str
    istio: str | None
    requires_downtime: bool = False

    def words(self) -> str:
        """For people: `Istio 1.30.2 (module 1.30.0, channel fast)`."""
        return f"Istio {self.istio or 'unknown'} (module {self.module}, channel {self.channel})"


def carried_by_descriptor(descriptor: object) -> Version | None:
    """The version of the proxy or pilot image among a component descriptor's resources."""
    try:
        resources = msgspec.convert(descriptor, Descriptor).component.resources
    except msgspec.ValidationError:
        return None
    for resource in resources:
        image = parse_image(resource.access.image_reference)
        if image.repository.rpartition("/")[2] in _VERSIONED_IMAGES and image.version:
            return image.version
    return None


def carried_by_table(module_version: str) -> Version | None:
    """The same from what is known of released module versions."""
    wanted = parse_version(module_version)
    for first, last, istio in _CARRIED:
        low, high = parse_version(first), parse_version(last)
        if wanted and low and high and low <= wanted <= high:
            return parse_version(istio)
    return None


def resolve(to: str, catalogue: Catalogue) -> Target:
    """A channel, module version or Istio version as a Target; RefusedError names what can be reached instead.

    Of versions that are both, the module's is meant; of several channels that fit, the one in force.
    """
    if catalogue.kyma.module is None:
        raise RefusedError(
            "The Kyma CR kyma-system/default has no module istio.", "Add the module first, or use --driver external."
        )
    if to == CURRENT:
        version = catalogue.kyma.module_status.version
        return Target(catalogue.kyma.channel, version, _text(catalogue.istio.installed))
    named = parse_version(to)
    known = [(channel, version, catalogue.carried(version)) for channel, version in _channels(catalogue)]
    exact = [one for one in known if to in one[:2]]
    carrying = [one for one in known if named is not None and one[2] == named]
    for channel, version, carried in [*exact, *carrying][:1]:
        template = catalogue.templates.get(version)
        return Target(channel, version, _text(carried), bool(template and template.spec.requires_downtime))
    raise RefusedError(f"{to!r} is no channel, module version or Istio version of this cluster.", reachable(catalogue))


def _channels(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Channels, the one in force first: a version that several channels give should not change the channel."""
    return sorted(catalogue.channels.items(), key=lambda item: (item[0] != catalogue.kyma.channel, item[0]))


def reachable(catalogue: Catalogue) -> str:
    """A sentence that lists what can be asked for."""
    known = []
    for channel, version in sorted(catalogue.channels.items()):
        carried = catalogue.carried(version)
        target = Target(channel, version, _text(carried))
        refused = refusal(target, catalogue) is not None
        if not refused:
            known.append(f"{channel} (module {version}, Istio {carried or 'unknown'})")
    return f"It can be one of: {', '.join([*known, CURRENT])}."


def refusal(target: Target, catalogue: Catalogue) -> str | None:
    """Why Kyma would refuse this target, by its own rules, before anything is touched; None when it would not."""
    module = catalogue.kyma.module
    if module is not None and not module.managed:
        return "module istio is unmanaged in the Kyma CR, so a new channel would change nothing."
    installed_module = parse_version(catalogue.kyma.module_status.version)
    target_module = parse_version(target.module)
    if installed_module and target_module:
        refused = refusal_of_module_update(installed_module, target_module)
        if refused:
            return refused
    installed, wanted = catalogue.istio.installed, parse_version(target.istio or "")
    return refusal_of_istio_update(installed, wanted) if installed and wanted else None


def _text(version: Version | None) -> str | None:
    return str(version) if version else None


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One reading of everything that the check of an upgrade looks at."""

    kyma: Kyma
    istio: IstioResource
    manager: Workload | None
    manager_pods: Sequence[Pod]
    istio_workloads: Sequence[Workload]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the check."""

    name: str
    done: bool
    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The parts, and what stands in the way. `trouble` is set when Kyma itself says that it will not go on."""

    parts: tuple[Part, ...]
    trouble: str | None = None
    maintenance: bool = False

    @property
    def done(self) -> bool:
        """Whether every part is."""
        return all(part.done for part in self.parts)

    def words(self) -> str:
        """What is still missing, in one line."""
        open_parts = [f"{part.name}: {part.message}" for part in self.parts if not part.done]
        return one_line("; ".join(open_parts) or "done", 400)


def finished(seen: ControlPlane, target: Target) -> Finish:
    """The parts that can be seen in the control plane. The last one, every sidecar, is the survey's.

    No single part may be believed: version and state of a module are of different moments, Ready flickers, and the
    module reports success without looking at a single rollout.
    """
    wanted = parse_version(target.istio or "")
    status = seen.kyma.module_status
    parts = (
        _module_part(status, target),
        _manager_part(seen, target),
        _resource_part(seen, wanted),
        _workloads_part(seen.istio_workloads, wanted),
    )
    ready = seen.istio.condition("Ready")
    trouble = None
    if ready is not None and ready.reason == "IstioVersionUpdateNotAllowed":
        trouble = seen.istio.status.description or ready.message
    elif status.state in ("Warning", "Error") and status.message:
        trouble = f"module istio is in state {status.state}: {status.message}"
    elif seen.istio.status.state == "Error":
        trouble = f"the Istio CR is in state Error: {seen.istio.status.description}"
    return Finish(parts, one_line(trouble, 400) if trouble else None, status.maintenance)


def _module_part(status: ModuleStatus, target: Target) -> Part:
    template = status.template.metadata.name if status.template else ""
    done = (
        status.version == target.module
        and template == f"{MODULE}-{target.module}"
        and status.state == "Ready"
        and not status.maintenance
        and not status.message
    )
    return Part("Kyma CR", done, f"module istio {status.version or 'without version'} is {status.state or 'unknown'}")


def _manager_part(seen: ControlPlane, target: Target) -> Part:
    if seen.manager is None:
        return Part("module manager", done=False, message=f"Deployment {MANAGER} is not there")
    template = seen.manager.spec.template
    containers = template.spec.containers if template else ()
    image = next((one.image for one in containers if one.name == "manager"), "")
    labels = [seen.manager.metadata.label(APP_VERSION)]
    current = parse_image(image).tag == target.module or target.module in labels
    roll = rollout(seen.manager)
    return Part("module manager", current and roll.complete, f"{image or 'no image'}, {roll.message}")


def _resource_part(seen: ControlPlane, wanted: Version | None) -> Part:
    istio, state = seen.istio, seen.istio.status.state
    started = max((pod.status.start_time for pod in seen.manager_pods if pod.status.start_time), default=None)
    ready = istio.condition("Ready")
    installed = istio.installed is not None and (wanted is None or istio.installed == wanted)
    settled = state == "Ready" and ready is not None and ready.status == "True" and _since(ready, started)
    if state == "Warning":
        settled = _harmless(istio.status.conditions) and ready is not None and _since(ready, started)
    told = f"Istio {istio.installed_tag or 'unknown'}, state {state or 'unknown'}"
    return Part("Istio CR", installed and settled, told + (f" ({ready.reason})" if ready else ""))


def _harmless(conditions: Iterable[Condition]) -> bool:
    reasons = {one.reason for one in conditions}
    refused = {"IstioVersionUpdateNotAllowed", "OlderCRExists", "OldestCRNotFound", "IstioCustomResourcesDangling"}
    return bool(reasons & _HARMLESS_WARNINGS) and not reasons & refused


def _since(condition: Condition, started: datetime | None) -> bool:
    moment = condition.last_transition_time
    return started is None or (moment is not None and moment >= started)


def _workloads_part(workloads: Sequence[Workload], wanted: Version | None) -> Part:
    mine = [one for one in workloads if one.metadata.name in _ISTIO_WORKLOADS]
    behind = []
    for one in mine:
        template = one.spec.template
        images = [c.image for c in (template.spec.containers if template else ()) if c.name in _ISTIO_CONTAINERS]
        if wanted is not None and any(parse_image(image).version != wanted for image in images):
            behind.append(f"{one.metadata.name} is not {wanted}")
        elif not (roll := rollout(one)).complete:
            behind.append(f"{one.metadata.name} has {roll.message}")
    if not any(one.metadata.name == "istiod" for one in mine):
        behind.append("Deployment istiod is not there")
    return Part(ISTIO_NAMESPACE, not behind, ", ".join(behind) or f"{len(mine)} workloads rolled out")
