"""The warning on the Pods of an open item: the annotation that Kyma's troubleshooting guide names.

A warning that someone else wrote there is kept in another annotation, and restored when the item closes. A warning
of Kyma's earlier tools is removed with the item, which says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mesh.wellknown import EARLIER_WARNING, PROXY_RESET_WARNING, WRITTEN_WARNING

_ANNOTATIONS = (PROXY_RESET_WARNING, WRITTEN_WARNING, EARLIER_WARNING)
#: How the warnings of Kyma's reconciler begin. Source: kyma-incubator/reconciler#984.
_EARLIER_TOOLS = ("pod sidecar could not be updated", "pod could not be rolled out")

Annotations = Mapping[str, str]
#: Annotations of a merge patch: None removes one.
Patch = dict[str, str | None]
NO_WARNINGS: Annotations = {}


def warnings_in(annotations: Annotations | None) -> Annotations:
    """Returns those of a Pod's annotations that are about the warning, `NO_WARNINGS` when it has none."""
    if not annotations:
        return NO_WARNINGS
    return {key: annotations[key] for key in _ANNOTATIONS if key in annotations} or NO_WARNINGS


def warning_patch(annotations: Annotations, text: str) -> Patch:
    """Returns the patch after which a Pod carries the warning; empty when it does already."""
    current, written = annotations.get(PROXY_RESET_WARNING), annotations.get(WRITTEN_WARNING)
    if current == written == text:
        return {}
    patch: Patch = {PROXY_RESET_WARNING: text, WRITTEN_WARNING: text}
    if current not in (None, written, text):
        patch[EARLIER_WARNING] = current
    return patch


def removal_patch(annotations: Annotations) -> Patch:
    """Returns the patch after which a Pod has the warning that stood there before, or none."""
    current, written = annotations.get(PROXY_RESET_WARNING), annotations.get(WRITTEN_WARNING)
    patch: Patch = {key: None for key in (WRITTEN_WARNING, EARLIER_WARNING) if key in annotations}
    # A warning that was edited by hand since then stays.
    if current is not None and (current == written or current.startswith(_EARLIER_TOOLS)):
        earlier = annotations.get(EARLIER_WARNING)
        patch[PROXY_RESET_WARNING] = None if earlier is None or earlier.startswith(_EARLIER_TOOLS) else earlier
    return patch


def warning_patches(pods: Iterable[str], warnings: Mapping[str, Annotations], text: str | None) -> dict[str, Patch]:
    """Returns the patches by the Pod's name: `pods` get the warning, if there is a text; all others lose it.

    `warnings` are the annotations about warnings of all Pods that have some.
    """
    wanted = {name: warning_patch(warnings.get(name, NO_WARNINGS), text) for name in pods} if text is not None else {}
    rest = {name: removal_patch(annotations) for name, annotations in warnings.items() if name not in wanted}
    return {name: patch for name, patch in (wanted | rest).items() if patch}
