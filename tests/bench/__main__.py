"""`make bench`: what readings and restarts cost, as ratios in one run; `python -m tests.bench survey` does one."""

from __future__ import annotations

import sys

from tests.bench import restarts, survey

_ALL = {"survey": survey.main, "restarts": restarts.main}

for _name in sys.argv[1:] or _ALL:
    _ALL[_name]()
