"""The page of a remediation item in the Temporal UI."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from mesh.history import HistoryEntry
from mesh.remediation.item import Item, ItemState, view_of
from mesh.survey.finding import Facts, Finding
from mesh.survey.reasons import Reason
from mesh.text import markdown
from tests.workflows.fakes import FakeCluster
from tests.workflows.open_item import PENDING, ItemStarter
from tests.workflows.stage import current_details
from workflows.item_commands import ResolveCommand
from workflows.ui_details import item_details

HOSTILE = ["<script>alert(1)</script> [x](javascript:alert(1)) " * 10, "⚠️ é" * 99]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_page_tells_cause_and_next_step_and_fits_into_an_address(
    cluster: FakeCluster, start_item: ItemStarter, hostile: str
) -> None:
    pods = tuple(f"cart-{'x' * 50}-{number:02}" for number in range(20))
    evidence = ("scheduler: Unschedulable", *(hostile[:300],) * 5)
    item = await start_item(
        cluster, replace(PENDING, detail=hostile[:200], pods=pods, pod_count=999, evidence=evidence)
    )
    for _ in range(3):
        await item.refuses("resolve", ResolveCommand(hostile, hostile))
    page, view = await current_details(item.handle), await item.view()

    assert "PodPending: shop/Deployment/cart" in page
    assert "- scheduler: Unschedulable" in page
    assert view.next_step in page
    assert all(one in page for one in view.commands)
    assert view.closes in page
    assert "<script" not in page.replace("\\<", "")
    assert "[x](" not in page
    assert len(quote(page)) < 4096


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("reason", list(Reason))
def test_page_of_any_item_fits_into_an_address(reason: Reason, hostile: str) -> None:
    long, now = hostile[:253], datetime(2026, 1, 1, tzinfo=UTC)
    known = Facts(long, long, long, (long,) * 5, resource=long, budget=long, quota=long, direct=f"job/{long}")
    pods, evidence = ("p" * 253,) * 20, (hostile[:300],) * 6
    seen = Finding("n" * 63, "StatefulSet", "n" * 253, reason, hostile[:200], pods, 99, evidence, known)
    history = (HistoryEntry(now, "retry", hostile[:200], hostile[:200], hostile[:200]),) * 20
    item = Item("c" * 253, seen, now, now, ItemState.SNOOZED, now, 9, history=history)
    page = item_details(view_of(item))

    assert len(quote(page)) < 4096
    # Commands are shown as they are.
    assert "[x](" not in re.sub(r"```\n.*?\n```", "", page, flags=re.DOTALL)
    assert len(quote(item_details(view_of(replace(item, restartable=True))))) < 4096


def test_page_tells_how_many_commands_there_is_no_room_for() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    seen = replace(PENDING, kind="StatefulSet", reason=Reason.ON_DELETE, pods=tuple(f"cart-{one}" for one in range(9)))
    view = view_of(Item("prod", seen, now, now))
    page = item_details(view)
    shown = [one for one in view.commands if one in page]

    assert 0 < len(shown) < len(view.commands)
    assert f"\n# {len(view.commands) - len(shown)} more: kyma-upgrade queue show\n```" in page


def test_page_without_a_detail_has_no_line_for_it() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    item = Item("prod", PENDING, now, now, ItemState.SNOOZED, now)
    page = item_details(view_of(replace(item, finding=replace(PENDING, detail=None))))

    assert "\n> " in item_details(view_of(item))
    assert "\n> " not in page
    assert "snoozed until 2026-01-01T00:00:00Z; opened 2026-01-01T00:00:00Z; " in page


@pytest.mark.parametrize("reason", list(Reason))
def test_page_of_an_ordinary_item_tells_all_that_is_to_be_done(reason: Reason) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    view = view_of(Item("prod", replace(PENDING, reason=reason, facts=KNOWN, pods=("cart-1",)), now, now))
    page = item_details(view)

    assert markdown(view.next_step, 1000) in page
    assert all(one in page for one in view.commands)
    assert view.closes in page


KNOWN = Facts("n1", "app", "hub/app:1", ("pull",), budget="slow", quota="small", direct="job/cart-1")
