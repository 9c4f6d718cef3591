"""The order in which test modules begin.

Every run shuffles the tests; pytest-randomly prints the seed. With `pytest -n 2` the tests of a module stay in one
process, since those that need a mesh share it. The modules that take longest begin first, so that both processes end
at about the same time.
"""

from __future__ import annotations

from itertools import count

import pytest

#: Modules that take long, longest first.
_LONGEST = (
    "tests/e2e/test_reasons.py",
    "tests/e2e/test_queue.py",
    "tests/scale/test_payloads.py",
    "tests/e2e/test_upgrades.py",
    "tests/e2e/test_restart_meanwhile.py",
    "tests/e2e/test_killed_worker.py",
    "tests/e2e/test_restart_budgets.py",
    "tests/local/test_two_meshes.py",
    "tests/e2e/test_steering.py",
    "tests/local_kyma/test_upgrade.py",
)
#: Of the modules without a mesh.
_LONGEST_FAST = (
    "tests/workflows/test_real_server.py",
    "tests/workflows/test_continue_as_new.py",
    "tests/workflows/test_upgrade_waits.py",
)
_POSITION = pytest.StashKey[int]()
_positions = count()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keeps each test's position in its file, before any shuffling."""
    item.stash[_POSITION] = next(_positions)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the shuffled modules by how long they take, and the tests marked `in_order` as they are written."""
    shuffled = {item: place for place, item in enumerate(items)}
    first: dict[str, int] = {}
    slow = set()
    for item in items:
        first.setdefault(_file(item), shuffled[item])
        if item.get_closest_marker("mesh") or item.get_closest_marker("scale"):
            slow.add(_file(item))

    def place(item: pytest.Item) -> tuple[int, int, int]:
        file = _file(item)
        position = item.stash[_POSITION] if item.get_closest_marker("in_order") else shuffled[item]
        return _rank(file, slow=file in slow), first[file], position

    items.sort(key=place)


def _rank(file: str, *, slow: bool) -> int:
    if slow:
        return _LONGEST.index(file) if file in _LONGEST else len(_LONGEST)
    rank = _LONGEST_FAST.index(file) if file in _LONGEST_FAST else len(_LONGEST_FAST)
    return len(_LONGEST) + 1 + rank


def _file(item: pytest.Item) -> str:
    return item.path.relative_to(item.config.rootpath).as_posix()
