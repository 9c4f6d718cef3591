"""Kyma's custom resources, as much of them as an upgrade of the Istio module reads.

Sources: kyma-project/lifecycle-manager (api/v1beta2) and kyma-project/istio (api/v1alpha2).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from mesh.istio.versions import Version, parse_version
from mesh.k8s.objects import Condition, Metadata
from mesh.wellknown import MODULE_LAST_APPLIED

#: Name of the module that is upgraded.
MODULE = "istio"


class _Object(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Settings of every struct in this module."""


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
    """One entry of `status.modules`. Version and state are written at different moments, see mesh.kyma.readiness."""

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
        """The entry of the Istio module in the spec, None when it has none."""
        return next((module for module in self.spec.modules if module.name == MODULE), None)

    @property
    def module_index(self) -> int:
        """The index of that entry, for a JSON patch; -1 when there is none."""
        return next((index for index, module in enumerate(self.spec.modules) if module.name == MODULE), -1)

    @property
    def module_status(self) -> ModuleStatus:
        """The status of the Istio module, empty when there is none yet."""
        return next((module for module in self.status.modules if module.name == MODULE), ModuleStatus())

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
    """A ModuleReleaseMeta: the module version of each channel."""

    spec: ReleaseMetaSpec = ReleaseMetaSpec()


class Access(_Object, frozen=True):
    """Where a resource of a component is stored."""

    image_reference: str = ""


class ComponentResource(_Object, frozen=True):
    """One resource of a component."""

    access: Access = Access()


class Component(_Object, frozen=True):
    """An OCM component."""

    resources: tuple[ComponentResource, ...] = ()


class Descriptor(_Object, frozen=True):
    """An OCM component descriptor, as far as it names images."""

    component: Component = Component()


class ModuleTemplateSpec(_Object, frozen=True):
    """`spec` of a ModuleTemplate. `descriptor` is an OCM component descriptor, decoded only where it is needed."""

    version: str = ""
    requires_downtime: bool = False
    descriptor: Any = None


class ModuleTemplate(_Object, frozen=True):
    """A ModuleTemplate: one version of a module."""

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
        """`IstioTag` of the last applied configuration, which the module writes after each successful installation."""
        try:
            applied = json.loads(self.metadata.annotation(MODULE_LAST_APPLIED) or "{}")
        except ValueError:
            return None
        tag = applied.get("IstioTag") if isinstance(applied, dict) else None
        return tag if isinstance(tag, str) else None

    @property
    def installed(self) -> Version | None:
        """The installed Istio version, None when it is not known."""
        return parse_version(self.installed_tag or "")

    def condition(self, name: str) -> Condition | None:
        """Returns the condition of that type, None when there is none."""
        return next((condition for condition in self.status.conditions if condition.type == name), None)
