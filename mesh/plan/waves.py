"""Waves: which workloads are restarted together, and in which order.

A wave is a rule (a group and an interval of stable hashes), not a list: a workload that appears or vanishes later moves
no other workload into another wave.
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
#: The most waves of one plan, since a plan is a payload. The next survey plans the workloads of all further waves.
MOST_WAVES = 400


class WaveGroup(StrEnum):
    """Groups of workloads, in the order in which their waves run."""

    KYMA = "kyma"
    CANARY = "canary"
    NUMBERED = "numbered"
    REST = "rest"
    GATEWAYS = "gateways"
    SELF_HOSTED = "self-hosted"


@dataclass(frozen=True, slots=True)
class WaveRule:
    """One wave: its members are the group's workloads with `low <= stable_hash < high`.

    `label` is the number of a numbered wave. Waves with the same `step` are parts of one large wave, and overlap.
    """

    number: int
    name: str
    group: WaveGroup
    low: int = 0
    high: int = _HASHES
    label: str | None = None
    workloads: int = 0
    step: int = 0

    def takes(self, group: WaveGroup, label: str | None, workload_hash: int) -> bool:
        """Whether a workload of this group, number and hash is a member."""
        return group is self.group and label == self.label and self.low <= workload_hash < self.high


@dataclass(frozen=True, slots=True)
class WavePlan:
    """The waves in order; an unlabelled workload with a hash less than `canary_below` belongs to the canary."""

    rules: tuple[WaveRule, ...]
    canary_below: int = 0


def stable_hash(workload: SurveyedWorkload) -> int:
    """Returns the hash of a workload, 0 <= hash < 2**32: the same in every run and every process."""
    return int.from_bytes(hashlib.sha256(str(workload.ref).encode()).digest()[:4], "big")


def plan_waves(
    candidates: Iterable[SurveyedWorkload],
    *,
    canary_share: float,
    steps: Sequence[float],
    max_workloads: int,
    canary_below: int | None = None,
) -> WavePlan:
    """Returns the first `MOST_WAVES` waves for these candidates; empty waves are left out.

    Shares are fractions of 1; steps grow and end with 1. With `canary_below` of an earlier plan the canary stays the
    same.
    """
    candidates = list(candidates)
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
    rules.append(("worker and Temporal", WaveGroup.SELF_HOSTED, 0, _HASHES, None))
    placed = [(*group_of(one, below), stable_hash(one)) for one in candidates]
    drawn: list[WaveRule] = []
    for step, (name, group, low, high, label) in enumerate(rules):
        rule = WaveRule(0, name, group, low, high, label, step=step)
        drawn += _split(rule, [place[2] for place in placed if rule.takes(*place)], max_workloads)
        if len(drawn) >= MOST_WAVES:
            break
    return WavePlan(tuple(replace(rule, number=number) for number, rule in enumerate(drawn[:MOST_WAVES])), below)


def _canary_below(candidates: Sequence[SurveyedWorkload], share: float) -> int:
    labelled = any(group_of(one, 0)[0] is WaveGroup.CANARY for one in candidates)
    free = sorted(stable_hash(one) for one in candidates if group_of(one, 0)[0] is WaveGroup.REST)
    if not free or share <= 0 or labelled:
        return 0
    return free[max(1, math.floor(share * len(free))) - 1] + 1


def group_of(workload: SurveyedWorkload, canary_below: int) -> tuple[WaveGroup, str | None]:
    """Returns the group of a workload, and in the numbered group its number as text without leading zeros."""
    if workload.kyma:
        return WaveGroup.KYMA, None
    if workload.self_hosted:
        return WaveGroup.SELF_HOSTED, None
    if workload.gateway:
        return WaveGroup.GATEWAYS, None
    if workload.wave == "canary":
        return WaveGroup.CANARY, None
    if workload.wave is not None and workload.wave.isascii() and workload.wave.isdigit():
        return WaveGroup.NUMBERED, str(int(workload.wave))
    return (WaveGroup.CANARY if stable_hash(workload) < canary_below else WaveGroup.REST), None


def belongs(workload: SurveyedWorkload, rule: WaveRule, canary_below: int) -> bool:
    """Whether the workload is a member of the wave."""
    return rule.takes(*group_of(workload, canary_below), stable_hash(workload))


def _split(rule: WaveRule, members: Sequence[int], most: int) -> list[WaveRule]:
    """Returns the parts of a wave, cut at the hashes of its members so that each has at most `most` of them."""
    hashes = sorted(members)
    if not hashes:
        return []
    cuts = [rule.low, *(hashes[i] for i in range(most, len(hashes), most)), rule.high]
    return [
        replace(rule, low=low, high=high, workloads=sum(1 for one in hashes if low <= one < high))
        for low, high in pairwise(cuts)
    ]
