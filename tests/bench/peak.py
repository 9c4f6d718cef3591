"""The most memory that this process has had."""

from __future__ import annotations

import re
from pathlib import Path


def peak_megabytes() -> float:
    """Of this program alone: `ru_maxrss` also counts the one that started it, up to its exec."""
    [kilobytes] = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kilobytes) / 1024
