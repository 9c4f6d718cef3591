"""The document of `doctor -o json`, as docs/reference/json.md describes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.doctor_checks import Check


def doctor_document(checks: Iterable[Check]) -> dict[str, Any]:
    """Returns the results of all checks; `remedy` is null when there is nothing to do."""
    return {
        "checks": [
            {"name": check.name, "ok": check.ok, "message": check.message, "remedy": check.remedy or None}
            for check in checks
        ]
    }
