"""Runs the installed `kyma-upgrade` and keeps its exit code and its output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS = 300


@dataclass(frozen=True)
class Done:
    """Exit code and output of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:  # noqa: ANN401  # JSON
        """The JSON that it printed."""
        return json.loads(self.stdout)


class _Run:
    program = str(Path(sys.executable).with_name("kyma-upgrade"))

    def __call__(self, environment: Mapping[str, str], *arguments: str) -> Done:
        done = subprocess.run(
            [self.program, *arguments],
            env=dict(environment),
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        return Done(done.returncode, done.stdout, done.stderr)


run = _Run()
