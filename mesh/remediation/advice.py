"""What an operator can do about an item: one paragraph and commands to paste, from the entry of its reason."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Formatter

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.remediation.advice_table import CURRENT_AND_READY, OF_ARGO_ROLLOUTS, TABLE
from mesh.survey.finding import Finding


@dataclass(frozen=True, slots=True)
class Advice:
    """`next_step` is a paragraph; `commands` can be pasted as they are; `closes` says how the item closes itself."""

    next_step: str
    commands: tuple[str, ...]
    closes: str


_FILE_LIMIT = 200
_NOT_IN_KINDS = re.compile(r"[^a-z0-9.-]")


def advise(finding: Finding) -> Advice:
    """Returns the advice for one workload; everything in its commands is quoted for a shell.

    Kinds and names of owners are free text in an owner reference: nothing of them may become a command or, at the
    start of a word, an option.
    """
    entry = next(entry for entry in TABLE[finding.reason] if entry.fits(finding))
    facts = finding.facts
    details = {
        "node": facts.node,
        "container": facts.container,
        "image": facts.image,
        "resource": facts.resource,
        "budget": facts.budget,
        "quota": facts.quota,
        "direct": facts.direct,
        "pod": finding.pods[0] if finding.pods else "",
    }
    values = {name: shlex.quote(text) for name, text in details.items() if text}
    values |= {
        "namespace": shlex.quote(finding.namespace),
        "kind": _NOT_IN_KINDS.sub("", finding.kind.lower()).lstrip("-.") or "workload",
        "name": shlex.quote(finding.name),
        "item": _item(finding),
        # A name may be as long as the name of a file, without its extension.
        "file": shlex.quote(f"{finding.name[:_FILE_LIMIT]}.yaml"),
    }
    if facts.secrets:
        values["as_secrets"] = " ".join(shlex.quote(f"secret/{secret}") for secret in facts.secrets)
    if facts.direct:
        values["as_words"] = "job " + shlex.quote(facts.direct.partition("/")[2])
    of_rollouts = OF_ARGO_ROLLOUTS if finding.kind == ARGO_ROLLOUT else {}
    commands = tuple(
        command
        for template in entry.commands
        for form in of_rollouts.get(template, (template,))
        for command in _filled(form, values, finding.pods)
    )
    words = details | {"secrets": " or ".join(f"Secret {secret}" for secret in facts.secrets)}
    return Advice(entry.next_step.format_map(words), commands, entry.closes)


def advise_restart(finding: Finding, cluster: str) -> Advice:
    """Returns the advice for a workload whose cause is gone."""
    return Advice(
        "The cause is gone, but the Pods still run the old proxy. Restart the workload.",
        (f"kyma-upgrade queue retry {_item(finding)} --cluster {shlex.quote(cluster)}",),
        CURRENT_AND_READY,
    )


def _item(finding: Finding) -> str:
    return shlex.quote(f"{finding.namespace}/{finding.kind}/{finding.name}")


def _filled(command: str, values: Mapping[str, str], pods: tuple[str, ...]) -> Iterator[str]:
    needed = {field for _, field, _, _ in Formatter().parse(command) if field}
    if "each" in needed:
        for pod in pods:
            yield command.format_map({**values, "each": shlex.quote(pod)})
    elif needed <= values.keys():
        yield command.format_map(values)
