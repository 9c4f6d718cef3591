"""Waves: which workloads are restarted together, in which order. A pure function of survey and policy.

A wave is a *rule* (group and interval of stable hashes), not a list: workloads that appear or vanish later fall into
exactly one wave without moving any other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from mesh.survey.survey import SurveyedWorkload

_HASHES = 2**32
#: Waves of one plan, the first ones: a plan is a payload. What is in none of them is stale at the next survey still.
MOST_WAVES = 400


class WaveGroup(StrEnum):
    """In the order in which they run."""

    KYMA = "kyma"
    CANARY = "canary"
    NUMBERED = "numbered"
    REST = "rest"
    GATEWAYS = "gateways"
    SELF_HOSTED = "foundation"


@dataclass(frozen=True, slots=True)
class WaveRule:
    """One wave: members are the group's workloads with `low <= stable_hash < high`. `label` is for numbered ones.

    Waves of one `step` are one that was cut: they overlap.
    """

    number: int
    name: str
    group: WaveGroup
    low: int = 0
    high: int = _HASHES
    label: str | None = None
    workloads: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class WavePlan:
    """The waves in order; `canary_below` is the hash under which an unlabelled workload is canary."""

    rules: tuple[WaveRule, ...]
    canary_below: int = 0


def stable_hash(record: SurveyedWorkload) -> int:
    """The same number for the same workload in every run and every process: 0 <= h < 2**32."""
    return int.from_bytes(hashlib.sha256(str(record.ref).encode()).digest()[:4], "big")


def plan_waves(
    records: Iterable[SurveyedWorkload],
    *,
    canary_share: float,
    steps: Sequence[float],
    max_workloads: int,
    canary_below: int | None = None,
) -> WavePlan:
    """Waves for these candidates, the first `MOST_WAVES` of them.

    Shares are fractions of 1; steps grow and end with 1; empty waves are left out. With `canary_below` of an earlier
    plan the canary stays who it was.
    """
    candidates = list(records)
    below = _canary_below(candidates, canary_share) if canary_below is None else canary_below
    rules: list[tuple[str, WaveGroup, int, int, str | None]] = [
        ("Kyma's own", WaveGroup.KYMA, 0, _HASHES, None),
        ("canary", WaveGroup.CANARY, 0, _HASHES, None),
    ]
    labels = {label for one in candidates if (label := group_of(one, below)[1]) is not None}
    rules += [(f"wave {label}", WaveGroup.NUMBERED, 0, _HASHES, label) for label in sorted(labels, key=int)]
    bounds = [below, *(below + math.ceil((_HASHES - below) * share) for share in steps)]
    bounds[-1] = _HASHES
    rules += [
        (f"to {share:.0%}", WaveGroup.REST, low, high, None)
        for share, low, high in zip(steps, bounds, bounds[1:], strict=False)
    ]
    rules.append(("gateways", WaveGroup.GATEWAYS, 0, _HASHES, None))
    rules.append(("what this upgrade stands on", WaveGroup.SELF_HOSTED, 0, _HASHES, None))
    drawn: list[WaveRule] = []
    for step, (name, group, low, high, label) in enumerate(rules):
        rule = WaveRule(0, name, group, low, high, label, step=step)
        drawn += _split(rule, [one for one in candidates if belongs(one, rule, below)], max_workloads)
        if len(drawn) >= MOST_WAVES:
            break
    return WavePlan(tuple(replace(rule, number=number) for number, rule in enumerate(drawn[:MOST_WAVES])), below)


def _canary_below(candidates: Sequence[SurveyedWorkload], share: float) -> int:
    labelled = any(group_of(one, 0)[0] is WaveGroup.CANARY for one in candidates)
    free = sorted(stable_hash(one) for one in candidates if group_of(one, 0)[0] is WaveGroup.REST)
    if not free or share <= 0 or labelled:
        return 0
    return free[max(1, math.floor(share * len(free))) - 1] + 1


def group_of(record: SurveyedWorkload, canary_below: int) -> tuple[WaveGroup, str | None]:
    """The group of a workload, and its number in the numbered group, as text without leading zeros."""
    if record.kyma:
        return WaveGroup.KYMA, None
    if record.self_hosted:
        return WaveGroup.SELF_HOSTED, None
    if record.gateway:
        return WaveGroup.GATEWAYS, None
    if record.wave == "canary":
        return WaveGroup.CANARY, None
    if record.wave is not None and record.wave.isascii() and record.wave.isdigit():
        return WaveGroup.NUMBERED, str(int(record.wave))
    return (WaveGroup.CANARY if stable_hash(record) < canary_below else WaveGroup.REST), None


def belongs(record: SurveyedWorkload, rule: WaveRule, canary_below: int) -> bool:
    """Whether the workload is a member of the wave."""
    group, label = group_of(record, canary_below)
    if group is not rule.group or label != rule.label:
        return False
    return rule.low <= stable_hash(record) < rule.high


def _split(rule: WaveRule, members: Sequence[SurveyedWorkload], most: int) -> list[WaveRule]:
    """Cuts a wave of too many members at hashes, so that each part has at most `most`."""
    hashes = sorted(stable_hash(one) for one in members)
    if not hashes:
        return []
    cuts = [rule.low, *(hashes[i] for i in range(most, len(hashes), most)), rule.high]
    parts = []
    for low, high in pairwise(cuts):
        count = sum(1 for one in hashes if low <= one < high)
        parts.append(replace(rule, low=low, high=high, workloads=count))
    return parts
