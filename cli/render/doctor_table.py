"""The checks of `doctor` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PERMISSION = "permission "


def doctor_table(checks: Sequence[Mapping[str, Any]]) -> str:
    """Returns a line per check, with its remedy below; granted permissions are only counted."""
    permissions = [check for check in checks if check["name"].startswith(_PERMISSION)]
    granted = [check for check in permissions if check["ok"]]
    lines = []
    for check in checks:
        if check in granted:
            continue
        lines.append(f"{_mark(check['ok'])}  {check['name']}: {check['message']}")
        if check["remedy"]:
            lines.append(f"      {check['remedy']}")
    if permissions:
        complete = len(granted) == len(permissions)
        lines.append(f"{_mark(complete)}  permissions: {len(granted)} of {len(permissions)} granted")
    failed = sum(not check["ok"] for check in checks)
    lines.append("")
    lines.append(f"{failed} of {len(checks)} checks failed." if failed else f"All {len(checks)} checks passed.")
    return "\n".join(lines)


def _mark(ok: bool) -> str:
    return "ok  " if ok else "FAIL"
