"""The warning on Pods of an open item: the annotation that Kyma's troubleshooting guide names.

Whatever else stood there is kept beside it, and put back when the item closes. What Kyma's earlier tools left there
says no more than an item does: it goes with the item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mesh.wellknown import EARLIER_WARNING, PROXY_RESET_WARNING, WRITTEN_WARNING

_OURS = (PROXY_RESET_WARNING, WRITTEN_WARNING, EARLIER_WARNING)
#: How the texts of Kyma's reconciler begin. Source: kyma-incubator/reconciler#984.
_OF_EARLIER_TOOLS = ("pod sidecar could not be updated", "pod could not be rolled out")

Annotations = Mapping[str, str]
#: Annotations of a merge patch: None takes one away.
Patch = dict[str, str | None]
NONE: Annotations = {}


def warnings_in(annotations: Annotations | None) -> Annotations:
    """Those of a Pod's annotations that are about the warning; `NONE` where it has none."""
    if not annotations:
        return NONE
    return {key: annotations[key] for key in _OURS if key in annotations} or NONE


def warned(found: Annotations, text: str) -> Patch:
    """What to change so that a Pod carries the warning; empty where it does."""
    there, ours = found.get(PROXY_RESET_WARNING), found.get(WRITTEN_WARNING)
    if there == ours == text:
        return {}
    patch: Patch = {PROXY_RESET_WARNING: text, WRITTEN_WARNING: text}
    if there not in (None, ours, text):
        patch[EARLIER_WARNING] = there
    return patch


def unwarned(found: Annotations) -> Patch:
    """What to change so that a Pod carries none of ours, nor of what this service has taken the place of."""
    there, ours = found.get(PROXY_RESET_WARNING), found.get(WRITTEN_WARNING)
    patch: Patch = {key: None for key in (WRITTEN_WARNING, EARLIER_WARNING) if key in found}
    # An edit by hand since then is somebody else's.
    if there is not None and (there == ours or there.startswith(_OF_EARLIER_TOOLS)):
        earlier = found.get(EARLIER_WARNING)
        patch[PROXY_RESET_WARNING] = None if earlier is None or earlier.startswith(_OF_EARLIER_TOOLS) else earlier
    return patch


def warning_patches(pods: Iterable[str], found: Mapping[str, Annotations], text: str | None) -> dict[str, Patch]:
    """By Pod what is to change: `pods` are to be warned, if there is a text; all others with a warning are not."""
    wanted = {name: warned(found.get(name, NONE), text) for name in pods} if text is not None else {}
    rest = {name: unwarned(there) for name, there in found.items() if name not in wanted}
    return {name: patch for name, patch in (wanted | rest).items() if patch}
