"""How a process of this service ends."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Ends the process with this very exit code.

    A process that ran Temporal's core may abort while the interpreter is torn down (temporalio/sdk-python#300), which
    would replace the code that pipelines go by.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
