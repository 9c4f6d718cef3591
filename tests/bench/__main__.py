"""`make bench`: what readings, restarts and a long queue cost; `python -m tests.bench survey` does one."""

from __future__ import annotations

import sys

from tests.bench import items, restarts, survey

_ALL = {"survey": survey.main, "restarts": restarts.main, "items": items.main}

for _name in sys.argv[1:] or _ALL:
    _ALL[_name]()
