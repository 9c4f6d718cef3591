"""What the local mesh says when it cannot go on: one sentence what is wrong, one what to do."""

from __future__ import annotations


class LocalMeshError(Exception):
    """A problem somebody has to settle, with the way to settle it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy
