"""Which tests stay together in one process, and in which order the groups of tests begin.

Every run shuffles the tests; pytest-randomly prints the seed. With `pytest -n 2` the tests of a module that need a mesh
stay in one process, since they share it. The modules that take longest begin first, so that both processes end at
about the same time; tests without a mesh fill the rest.
"""

from __future__ import annotations

from itertools import count

import pytest

#: Modules that take minutes, longest first.
_LONGEST = (
    "tests.e2e.test_reasons",
    "tests.e2e.test_queue",
    "tests.local.test_two_meshes",
    "tests.e2e.test_upgrades",
    "tests.e2e.test_steering",
    "tests.e2e.test_killed_worker",
    "tests.local_kyma.test_upgrade",
)
_POSITION = pytest.StashKey[int]()
_positions = count()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keeps each test's position in its file, before any shuffling."""
    item.stash[_POSITION] = next(_positions)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the shuffled tests into groups, and marks the groups for pytest-xdist."""
    for item in items:
        if item.get_closest_marker("mesh") or item.get_closest_marker("scale"):
            item.add_marker(pytest.mark.xdist_group(_module(item)))
    shuffled = {item: place for place, item in enumerate(items)}
    first = {_module(item): shuffled[item] for item in reversed(items)}

    def place(item: pytest.Item) -> tuple[int, int, int]:
        module = _module(item)
        grouped = item.get_closest_marker("xdist_group") is not None
        rank = _LONGEST.index(module) if module in _LONGEST else len(_LONGEST) + (not grouped)
        written = item.get_closest_marker("in_order") is not None
        return rank, first[module], item.stash[_POSITION] if written else shuffled[item]

    items.sort(key=place)


def _module(item: pytest.Item) -> str:
    return item.path.relative_to(item.config.rootpath).with_suffix("").as_posix().replace("/", ".")
