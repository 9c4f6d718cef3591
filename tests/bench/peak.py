"""The peak memory of this process."""

from __future__ import annotations

import re
from pathlib import Path


def peak_megabytes() -> float:
    """Returns the peak of this program; `ru_maxrss` also counts the program that started it, up to its exec."""
    [kilobytes] = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kilobytes) / 1024
