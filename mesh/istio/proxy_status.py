"""Which version each connected proxy runs, according to the istiods: their answers to `GET /debug/syncz`.

Each istiod lists only the proxies that are connected to it, so one answer is never complete. Two answers may contradict
each other: a Pod recreated under its old name (StatefulSet) can still be listed by the istiod that its predecessor was
connected to. Then the version is unknown.

A version is the proxy's own claim, a text without a fixed form: `1.30.2`, `1.32-alpha.527f8d6c`, or empty.
Source of the answer's form: istio/istio, pilot/pkg/xds/debug.go, SyncStatus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from mesh.text import one_line

#: Kubernetes namespace and name of a Pod.
PodKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class IstiodListing:
    """The proxies that one istiod lists, as (Pod, version), or the `problem` why its answer cannot be read.

    `version` and `revision` are the istiod's own.
    """

    istiod: str
    connections: tuple[tuple[PodKey, str], ...] = ()
    problem: str | None = None
    revision: str = ""
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectedProxies:
    """What all istiods list together.

    A Pod is in `versions`, or in `doubts` with the sentence why its version is unknown, or connected to no istiod that
    could be asked. `problems` are sentences about the istiods that could not: with them, a Pod's absence says nothing.
    `istiod_versions` are by revision, for the revisions whose istiods all have the same version.
    """

    versions: Mapping[PodKey, str] = field(default_factory=dict)
    doubts: Mapping[PodKey, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    istiod_versions: Mapping[str, str] = field(default_factory=dict)

    def version_of(self, namespace: str, pod: str) -> str | None:
        """Returns the version that the Pod's proxy claims, perhaps empty; None when it is unknown."""
        return self.versions.get((namespace, pod))

    def is_current(self, namespace: str, pod: str, revision: str) -> bool | None:
        """Whether the Pod's proxy has the version of that revision's istiods; None when that is unknown."""
        proxy, istiod = self.version_of(namespace, pod), self.istiod_versions.get(revision)
        return proxy == istiod if istiod and proxy and _is_version(proxy) else None

    def why_unknown(self, namespace: str, pod: str, revision: str) -> str:
        """Returns why `is_current` is None."""
        name = (namespace, pod)
        if name in self.doubts:
            return self.doubts[name]
        proxy = self.version_of(namespace, pod)
        if proxy is None:
            reason = "no istiod lists it"
        elif not _is_version(proxy):
            reason = f"it reports version {proxy}" if proxy else "it reports no version"
        else:
            reason = f"it runs {proxy}, and the istiods of revision {revision} have no common known version"
        return "; ".join((reason, *self.problems))


class _SyncStatus(msgspec.Struct, frozen=True, gc=False):
    """One proxy in an istiod's answer; fields without a value are left out there."""

    proxy: str = ""
    istio_version: str = ""


_answer = msgspec.json.Decoder(tuple[_SyncStatus, ...])


def read_listing(istiod: str, content: bytes) -> IstiodListing:
    """Reads the answer of an istiod, which `istiod` names in sentences; an unreadable one becomes the problem."""
    try:
        proxies = _answer.decode(content)
    # Invalid UTF-8 and nesting without end are not DecodeErrors.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return IstiodListing(istiod, problem=f"the answer of {istiod} cannot be read: {one_line(str(error))}")
    return IstiodListing(istiod, tuple((name, proxy.istio_version) for proxy in proxies if (name := _pod(proxy.proxy))))


def merge_listings(listings: Iterable[IstiodListing]) -> ConnectedProxies:
    """Returns what all listings say together; a Pod with several versions has a doubt and no version."""
    claims: dict[PodKey, dict[str, set[str]]] = {}
    istiod_versions: dict[str, set[str]] = {}
    problems = []
    for listing in listings:
        if listing.version is not None:
            istiod_versions.setdefault(listing.revision, set()).add(listing.version)
        if listing.problem is not None:
            problems.append(listing.problem)
        for pod, version in listing.connections:
            claims.setdefault(pod, {}).setdefault(version, set()).add(listing.istiod)
    return ConnectedProxies(
        versions={pod: next(iter(by_version)) for pod, by_version in claims.items() if len(by_version) == 1},
        doubts={pod: _doubt(by_version) for pod, by_version in claims.items() if len(by_version) > 1},
        problems=tuple(problems),
        istiod_versions={
            revision: next(iter(versions)) for revision, versions in istiod_versions.items() if len(versions) == 1
        },
    )


NO_CONNECTED_PROXIES = ConnectedProxies()


def read_version(content: bytes) -> str | None:
    """Returns the version in an istiod's answer to `GET /version`, None where it has none.

    The answer is `<version>-<commit>-<build status>`: istio/istio, pkg/version, BuildInfo.String.
    """
    version, *rest = content.decode(errors="replace").strip().rsplit("-", 2)
    return version if len(rest) == 2 and _is_version(version) else None


def _is_version(text: str) -> bool:
    """A build without a version says `unknown` or nothing: istio/istio, pkg/version."""
    return text[:1].isdigit()


def _pod(proxy: str) -> PodKey | None:
    """`pod.namespace`: a Pod's name may have dots, a Kubernetes namespace cannot."""
    name, _, namespace = proxy.rpartition(".")
    return (namespace, name) if name and namespace else None


def _doubt(by_version: Mapping[str, set[str]]) -> str:
    versions = ", ".join(version or "none" for version in sorted(by_version))
    istiods = {istiod for some in by_version.values() for istiod in some}
    if len(istiods) == 1:
        return one_line(f"{istiods.pop()} lists it more than once: {versions}")
    return one_line(f"{'two' if len(istiods) == 2 else len(istiods)} istiods disagree: {versions}")
