"""A scan as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli.render.columns import fitted
from mesh.istio.images import parse_image
from mesh.reporting.document import counted_noun
from mesh.survey.pod_class import version_text

#: Characters of a digest that are shown, as by container engines: `sha256:` and twelve digits.
_DIGEST = 19

#: kubectl's short names of kinds.
_SHORT_KINDS = {
    "Deployment": "deploy",
    "StatefulSet": "sts",
    "DaemonSet": "ds",
    "ReplicaSet": "rs",
    "ReplicationController": "rc",
    "CronJob": "cj",
    "Job": "job",
    "Pod": "pod",
}


def scan_table(document: Mapping[str, Any]) -> str:
    """Returns a scan for people: control plane, totals, and a line per workload with versions instead of images."""
    totals = document["totals"]
    classes = ", ".join(f"{count} {name}" for name, count in totals["classes"].items() if count)
    lines = [f"Cluster {document['cluster']} at {document['takenAt']}"]
    for plane in document["controlPlane"]:
        tags = f" (tags {', '.join(plane['tags'])})" if plane["tags"] else ""
        ready = "ready" if plane["ready"] else "NOT ready"
        lines.append(f"Control plane {plane['revision']}{tags}: Istio {plane['version']}, {ready}")
    lines.append(f"{_pods_of_workloads(totals)}: {classes}" if classes else "No Pods.")
    changes = document.get("targetChanges")
    if changes:
        lines.append(f"Istio {document['target']} would change {_pods_of_workloads(changes)}")
    rows = []
    for workload in document["workloads"]:
        proxies = proxy_text(workload["proxies"], workload["expectedProxy"])
        decision = workload["reason"] or (workload["action"] if workload["action"] != "none" else "")
        if not decision and workload["drift"]:
            decision = f"differs in {', '.join(workload['drift'])}"
        kind = _SHORT_KINDS.get(workload["kind"], workload["kind"])
        name = f"{workload['namespace']}/{kind}/{workload['name']}"
        rows.append([workload["class"], workload["pods"], proxies, f"{name}: {decision}" if decision else name])
    # The names come last: they are the longest, and nearly all of them fit in a line of 80 columns.
    table = fitted(["CLASS", "PODS", "PROXY", "WORKLOAD"], rows) if rows else "No workload matches."
    return "\n".join([*lines, "", table])


def _pods_of_workloads(counts: Mapping[str, int]) -> str:
    return f"{counted_noun(counts['pods'], 'Pod')} of {counted_noun(counts['workloads'], 'workload')}"


def proxy_text(images: Iterable[str], expected: str | None) -> str:
    """Returns what runs and what is expected: `1.29.3 > 1.30.2`. Shows whole tags if the versions are the same."""
    live = set(images)
    if expected is None or live == {expected}:
        return ",".join(sorted(set(map(_version_or_tag, live)))) or "-"
    same_version = set(map(_version_or_tag, live)) == {_version_or_tag(expected)}
    label = _tag if same_version else _version_or_tag
    return f"{','.join(sorted(set(map(label, live)))) or 'none'} > {label(expected)}"


def _tag(image: str) -> str:
    parsed = parse_image(image)
    return parsed.tag or parsed.digest[:_DIGEST] or "?"


def _version_or_tag(image: str) -> str:
    return version_text(image) or _tag(image)
