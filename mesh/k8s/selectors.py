"""Kubernetes label selectors, evaluated as the API server does."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})


class Requirement(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of `matchExpressions`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    """A `metav1.LabelSelector`; an empty one matches everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None

    @property
    def empty(self) -> bool:
        """Whether the selector has no requirement at all."""
        return not self.match_labels and not self.match_expressions

    @property
    def valid(self) -> bool:
        """Whether the selector can be evaluated. Source: k8s.io/apimachinery/pkg/labels, NewRequirement."""
        return all(
            requirement.operator in _OPERATORS and bool(requirement.values) == (requirement.operator in ("In", "NotIn"))
            for requirement in self.match_expressions or ()
        )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether every requirement holds for these labels."""
        # Loops: a survey evaluates each webhook's selectors for each workload, and generators take twice as long.
        for key, value in (self.match_labels or {}).items():
            if labels.get(key) != value:
                return False
        for requirement in self.match_expressions or ():  # noqa: SIM110  # see above
            if not _holds(requirement, labels):
                return False
        return True

    def query(self) -> str:
        """Returns the selector as the `labelSelector` parameter of a list."""
        parts = [f"{key}={value}" for key, value in sorted((self.match_labels or {}).items())]
        for requirement in self.match_expressions or ():
            values = ",".join(requirement.values)
            parts.append(
                {
                    "In": f"{requirement.key} in ({values})",
                    "NotIn": f"{requirement.key} notin ({values})",
                    "Exists": requirement.key,
                    "DoesNotExist": f"!{requirement.key}",
                }[requirement.operator]
            )
        return ",".join(parts)


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case "In":
            return present and labels[requirement.key] in requirement.values
        case "NotIn":
            # A missing key satisfies NotIn: k8s.io/apimachinery/pkg/labels, Requirement.Matches.
            return not present or labels[requirement.key] not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case _:
            return False
