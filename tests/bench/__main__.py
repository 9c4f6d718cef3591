"""Runs the benchmarks: `make bench` all of them, `python -m tests.bench survey` one."""

from __future__ import annotations

import sys

from tests.bench import items, restarts, survey

_ALL = {"survey": survey.main, "restarts": restarts.main, "items": items.main}

for _name in sys.argv[1:] or _ALL:
    _ALL[_name]()
