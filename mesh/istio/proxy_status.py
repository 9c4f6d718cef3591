"""Which version each connected proxy runs, as istiods themselves say it: their answers to `GET /debug/syncz`.

Each istiod lists only the proxies that are connected to itself, so one answer is never the whole picture. Two answers
may also contradict each other: a Pod made anew under its old name (StatefulSet) can still be listed by the istiod
that its predecessor was connected to. Then nobody knows, and there is no version.

A version is the proxy's own claim, text without a fixed form: `1.30.2`, `1.32-alpha.527f8d6c`, or empty.
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
class Listing:
    """What one istiod lists, as (Pod, version); where there is nothing to read, `problem` is the sentence why.

    `version` is its own, where it told one, and `revision` whose it is.
    """

    istiod: str
    connections: tuple[tuple[PodKey, str], ...] = ()
    problem: str | None = None
    revision: str = ""
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectedProxies:
    """What all istiods say together.

    A Pod is in `versions`, or in `doubts` with the sentence why its version is unknown, or connected to no istiod that
    could be asked. `problems` are sentences about the others: with them, a Pod's absence says nothing. `planes` are
    the versions of istiods by revision, of those whose istiods agree.
    """

    versions: Mapping[PodKey, str] = field(default_factory=dict)
    doubts: Mapping[PodKey, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    planes: Mapping[str, str] = field(default_factory=dict)

    def version_of(self, namespace: str, pod: str) -> str | None:
        """What the Pod's proxy calls itself, perhaps empty; None when it is not connected or istiods disagree."""
        return self.versions.get((namespace, pod))

    def is_current(self, namespace: str, pod: str, revision: str) -> bool | None:
        """Whether the Pod's proxy is of the version of that revision's istiods; None when nobody knows."""
        proxy, plane = self.version_of(namespace, pod), self.planes.get(revision)
        return proxy == plane if plane and proxy and _is_version(proxy) else None

    def why_unknown(self, namespace: str, pod: str, revision: str) -> str:
        """The sentence for `is_current` that is None."""
        name = (namespace, pod)
        if name in self.doubts:
            return self.doubts[name]
        proxy = self.version_of(namespace, pod)
        if proxy is None:
            told = "no istiod lists it"
        elif not _is_version(proxy):
            told = f"it calls its version {proxy}" if proxy else "it tells no version"
        else:
            told = f"it runs {proxy}, and no version is known that all istiods of revision {revision} have"
        return "; ".join((told, *self.problems))


class _SyncStatus(msgspec.Struct, frozen=True, gc=False):
    """One proxy in an istiod's answer; fields without a value are left out there."""

    proxy: str = ""
    istio_version: str = ""


_answer = msgspec.json.Decoder(tuple[_SyncStatus, ...])


def read_listing(istiod: str, content: bytes) -> Listing:
    """One istiod's answer; any other content is a listing with a problem. `istiod` names it in sentences."""
    try:
        proxies = _answer.decode(content)
    # Text that is no UTF-8 is no DecodeError, and nesting without end is neither.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Listing(istiod, problem=f"the answer of {istiod} cannot be read: {one_line(str(error))}")
    return Listing(istiod, tuple((name, one.istio_version) for one in proxies if (name := _pod(one.proxy))))


def put_together(listings: Iterable[Listing]) -> ConnectedProxies:
    """One picture of all answers; a Pod with several versions has a doubt and no version."""
    said: dict[PodKey, dict[str, set[str]]] = {}
    planes: dict[str, set[str]] = {}
    problems = []
    for listing in listings:
        if listing.version is not None:
            planes.setdefault(listing.revision, set()).add(listing.version)
        if listing.problem is not None:
            problems.append(listing.problem)
        for pod, version in listing.connections:
            said.setdefault(pod, {}).setdefault(version, set()).add(listing.istiod)
    return ConnectedProxies(
        versions={pod: next(iter(by_version)) for pod, by_version in said.items() if len(by_version) == 1},
        doubts={pod: _doubt(by_version) for pod, by_version in said.items() if len(by_version) > 1},
        problems=tuple(problems),
        planes={revision: next(iter(found)) for revision, found in planes.items() if len(found) == 1},
    )


NOBODY = ConnectedProxies()


def read_version(content: bytes) -> str | None:
    """The version in an istiod's answer to `GET /version`; None where it tells none.

    The answer is `<version>-<commit>-<build status>`: istio/istio, pkg/version, BuildInfo.String.
    """
    version, *rest = content.decode(errors="replace").strip().rsplit("-", 2)
    return version if len(rest) == 2 and _is_version(version) else None


def _is_version(text: str) -> bool:
    """A build that was given none says `unknown` or nothing: istio/istio, pkg/version."""
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
