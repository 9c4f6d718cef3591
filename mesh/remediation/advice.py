"""What a person can do about an item: one paragraph and commands to paste, from the entry of its reason."""

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


def advise(seen: Finding) -> Advice:
    """The advice for one workload; everything in its commands is quoted for a shell.

    Kinds and names of owners are what anybody wrote into a reference: nothing of them may become a command or, at
    the start of a word, an option.
    """
    entry = next(one for one in TABLE[seen.reason] if one.fits(seen))
    facts = seen.facts
    told = {
        "node": facts.node,
        "container": facts.container,
        "image": facts.image,
        "resource": facts.resource,
        "budget": facts.budget,
        "quota": facts.quota,
        "direct": facts.direct,
        "pod": seen.pods[0] if seen.pods else "",
    }
    values = {name: shlex.quote(text) for name, text in told.items() if text}
    values |= {
        "namespace": shlex.quote(seen.namespace),
        "kind": _NOT_IN_KINDS.sub("", seen.kind.lower()).lstrip("-.") or "workload",
        "name": shlex.quote(seen.name),
        "item": _item(seen),
        # A name may be as long as a file's name, without its extension.
        "file": shlex.quote(f"{seen.name[:_FILE_LIMIT]}.yaml"),
    }
    if facts.secrets:
        values["as_secrets"] = " ".join(shlex.quote(f"secret/{one}") for one in facts.secrets)
    if facts.direct:
        values["as_words"] = "job " + shlex.quote(facts.direct.partition("/")[2])
    commands = tuple(
        command
        for one in entry.commands
        for form in (OF_ARGO_ROLLOUTS.get(one, (one,)) if seen.kind == ARGO_ROLLOUT else (one,))
        for command in _filled(form, values, seen.pods)
    )
    words = told | {"secrets": " or ".join(f"Secret {one}" for one in facts.secrets)}
    return Advice(entry.next_step.format_map(words), commands, entry.closes)


def only_a_restart(seen: Finding, cluster: str) -> Advice:
    """Once the cause is gone."""
    return Advice(
        "The cause is gone, but the Pods still run the old proxy: only a restart is missing.",
        (f"kyma-upgrade queue retry {_item(seen)} --cluster {shlex.quote(cluster)}",),
        CURRENT_AND_READY,
    )


def _item(seen: Finding) -> str:
    return shlex.quote(f"{seen.namespace}/{seen.kind}/{seen.name}")


def _filled(command: str, values: Mapping[str, str], pods: tuple[str, ...]) -> Iterator[str]:
    wanted = {field for _, field, _, _ in Formatter().parse(command) if field}
    if "each" in wanted:
        for pod in pods:
            yield command.format_map({**values, "each": shlex.quote(pod)})
    elif wanted <= values.keys():
        yield command.format_map(values)
