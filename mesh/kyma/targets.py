"""What an upgrade can be asked for: what a channel or version resolves to, and what Kyma would refuse.

Source: kyma-project/lifecycle-manager (pkg/module/sync).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mesh.errors import RefusedError
from mesh.istio.images import parse_image
from mesh.istio.versions import Version, parse_version, refusal_of_istio_update, refusal_of_module_update
from mesh.kyma.resources import Descriptor, IstioResource, Kyma, ModuleTemplate

#: Asks for the data plane alone: the control plane already has its version.
CURRENT = "current"

#: Module versions and the Istio they carry, for templates whose descriptor names no image: first, last, Istio.
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

_VERSIONED_IMAGES = frozenset({"proxyv2", "pilot", "istio-proxy-fips", "istio-pilot-fips"})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What decides which targets a cluster can reach: its CRs, and what Kyma offers.

    `channels` are module versions by channel, `templates` ModuleTemplates by module version.
    """

    kyma: Kyma
    istio: IstioResource
    channels: Mapping[str, str]
    templates: Mapping[str, ModuleTemplate]

    def carried(self, module_version: str) -> Version | None:
        """Returns the Istio version that a module version carries, None when it is not known."""
        template = self.templates.get(module_version)
        return (carried_by_descriptor(template.spec.descriptor) if template else None) or carried_by_table(
            module_version
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What an upgrade upgrades to. `istio` is None if the cluster does not show what the module carries."""

    channel: str
    module: str
    istio: str | None
    requires_downtime: bool = False

    def __str__(self) -> str:
        """Returns `Istio 1.30.2 (module 1.30.0, channel fast)`."""
        return f"Istio {self.istio or 'unknown'} (module {self.module}, channel {self.channel})"


def carried_by_descriptor(descriptor: object) -> Version | None:
    """Returns the version of the proxy or pilot image among the resources of a component descriptor."""
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
    """Returns the Istio version of a released module version."""
    wanted = parse_version(module_version)
    for first, last, istio in _CARRIED:
        low, high = parse_version(first), parse_version(last)
        if wanted and low and high and low <= wanted <= high:
            return parse_version(istio)
    return None


def resolve(to: str, catalogue: Catalogue) -> Target:
    """Returns the target that a channel, module version or Istio version names.

    A version of both a module and Istio is the module's. Of several channels with the version, the channel in force is
    taken.

    Raises:
        RefusedError: nothing of that name can be reached; the remedy lists what can.
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
    exact = [entry for entry in known if to in entry[:2]]
    carrying = [entry for entry in known if named is not None and entry[2] == named]
    for channel, version, carried in [*exact, *carrying][:1]:
        template = catalogue.templates.get(version)
        return Target(channel, version, _text(carried), bool(template and template.spec.requires_downtime))
    raise RefusedError(
        f"{to!r} is not a channel, module version or Istio version of this cluster.", reachable(catalogue)
    )


def _channels(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Returns the channels, the one in force first: a version of several channels must not change the channel."""
    return sorted(catalogue.channels.items(), key=lambda item: (item[0] != catalogue.kyma.channel, item[0]))


def reachable(catalogue: Catalogue) -> str:
    """Returns a sentence that lists the targets that Kyma would not refuse."""
    known = []
    for channel, version in sorted(catalogue.channels.items()):
        carried = catalogue.carried(version)
        target = Target(channel, version, _text(carried))
        refused = target_refusal(target, catalogue) is not None
        if not refused:
            known.append(f"{channel} (module {version}, Istio {carried or 'unknown'})")
    return f"Choose one of: {', '.join([*known, CURRENT])}."


def target_refusal(target: Target, catalogue: Catalogue) -> str | None:
    """Returns why Kyma would refuse this target by its own rules, None when it would not."""
    module = catalogue.kyma.module
    if module is not None and not module.managed:
        return "module istio is unmanaged in the Kyma CR, so a new channel changes nothing."
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
