"""Versions of Istio and of Kyma's Istio module, and the rules by which Kyma refuses an update."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from mesh.errors import RefusedError

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?")
_IMAGE_TAG_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[-+.].*)?")


class Version(NamedTuple):
    """major.minor.patch. Suffixes (`-distroless`, `-1`, `-experimental`) are not part of the order, as in Kyma."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version | None:
    """Returns the version of `1.30.2`, `v1.30.2` or `1.30.2-distroless`; None for any other text."""
    match = _VERSION.fullmatch(text)
    return Version(int(match[1]), int(match[2]), int(match[3])) if match else None


@lru_cache(maxsize=4096)
def version_of_tag(tag: str) -> Version | None:
    """Returns the Istio version that an image tag names; None for `latest` or `1.32-alpha.527f8d6c`."""
    match = _IMAGE_TAG_VERSION.fullmatch(tag)
    return Version(int(match[1]), int(match[2]), int(match[3])) if match else None


def refusal_of_istio_update(current: Version, target: Version) -> str | None:
    """Returns why Kyma's module would refuse this update of Istio, None when it would not.

    Source: kyma-project/istio, internal/reconciliations/istio/configuration, CheckIstioVersionUpdate.
    """
    if target < current:
        return f"Istio {target} is lower than the installed {current}, and Istio is never downgraded."
    if target.major != current.major:
        return f"Istio {target} is another major version than the installed {current}."
    if target.minor - current.minor > 1:
        return (
            f"Istio {target} is more than one minor version above the installed {current}; "
            f"upgrade to {current.major}.{current.minor + 1} first."
        )
    return None


def refusal_of_module_update(current: Version, target: Version) -> str | None:
    """Returns why Kyma's lifecycle-manager would refuse this module version, None when it would not.

    Source: kyma-project/lifecycle-manager, pkg/templatelookup/regular.go, markInvalidSkewUpdate.
    """
    if target < current:
        return f"module version {target} is lower than the installed {current}, and modules are never downgraded."
    return None


def required_version(text: str, what: str) -> Version:
    """Returns the version that a text names.

    Raises:
        RefusedError: the text is not a version; the message says of `what`.
    """
    version = parse_version(text)
    if version is None:
        raise RefusedError(f"{what} {text!r} is not a version.", "Write it as MAJOR.MINOR.PATCH.")
    return version
