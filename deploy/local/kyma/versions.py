"""Which Istio a module version carries, and which steps between Istio versions the module takes."""

import re
from itertools import pairwise
from typing import NamedTuple

Version = tuple[int, int, int]


class Release(NamedTuple):
    """A row of module versions, first to last, that carry one Istio version."""

    first: str
    last: str
    istio: str


# Read from the tags of KI (internal/istiooperator/istio-operator.yaml). A higher module may carry a lower Istio.
RELEASES = (
    Release("1.20.1", "1.20.2", "1.26.2"),
    Release("1.21.0", "1.23.2", "1.27.1"),
    Release("1.23.3", "1.23.3", "1.27.4"),
    Release("1.24.0", "1.24.1", "1.27.1"),
    Release("1.24.2", "1.24.3", "1.27.4"),
    Release("1.25.0", "1.25.2", "1.28.2"),
    Release("1.25.3", "1.26.2", "1.28.3"),
    Release("1.26.3", "1.26.6", "1.28.5"),
    Release("1.26.7", "1.26.8", "1.28.6"),
    Release("1.27.0", "1.27.1", "1.29.1"),
    Release("1.27.2", "1.27.3", "1.29.2"),
    Release("1.27.4", "1.27.4", "1.29.3"),
    Release("1.28.0", "1.30.0", "1.30.2"),
)


def parse(version: str) -> Version:
    """Major, minor and patch of `1.30.2`, `1.30.2-distroless` or `v1.30.2`; what follows the patch is dropped."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise ValueError(f"{version!r} is not a version of the form 1.30.2")
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch)


def istio_of(module: str) -> str:
    """The Istio version that a module version carries."""
    for release in RELEASES:
        if parse(release.first) <= parse(module) <= parse(release.last):
            return release.istio
    raise ValueError(f"no Istio version is known for module {module}; known are {known_modules()}")


def module_of(istio: str) -> str:
    """The newest module version that carries this Istio version."""
    for release in reversed(RELEASES):
        if parse(release.istio) == parse(istio):
            return release.last
    known = ", ".join(sorted({release.istio for release in RELEASES}, key=parse))
    raise ValueError(f"no module version is known for Istio {istio}; known are {known}")


def default_channels(module: str) -> dict[str, str]:
    """Channels around an installed module: itself, the newest, and the newest with the Istio minor before it."""
    installed = parse(istio_of(module))
    before = [release.last for release in RELEASES if parse(release.istio)[:2] < installed[:2]]
    channels = {"regular": module, "fast": RELEASES[-1].last}
    return channels | ({"previous": before[-1]} if before else {})


def known_modules() -> str:
    """The ranges of module versions of the table, for messages."""
    assert all(parse(a.last) < parse(b.first) for a, b in pairwise(RELEASES))  # noqa: S101
    return ", ".join(f"{release.first} to {release.last}" for release in RELEASES)


def refuse_update(current: str, target: str) -> str | None:
    """Why the module will not go from one Istio tag to another; None if it will.

    KI `CheckIstioVersionUpdate` (internal/reconciliations/istio/configuration/configuration.go), its words.
    """
    was, will = parse(current), parse(target)
    if will == was:
        return None
    if will < was:
        return f"target Istio version ({target}) is lower than current version ({current}) - downgrade not supported"
    if will[0] != was[0]:
        return (
            f"target Istio version ({target}) is different than current Istio version ({current}) - "
            "major version upgrade is not supported"
        )
    if will[1] - was[1] > 1:
        return (
            f"target Istio version ({target}) is higher than current Istio version ({current}) - "
            "the difference between versions exceed one minor version"
        )
    return None
