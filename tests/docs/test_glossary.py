"""docs/reference/glossary.md explains every value that people meet, and no value that the code has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import pytest

from activities.restart.outcome import RestartOutcome
from mesh.istio.drift import Drift
from mesh.plan.waves import WaveGroup
from mesh.remediation.item import ItemState
from mesh.reporting.document import MemberStatus
from mesh.survey.actions import Action
from mesh.survey.pod_class import WORKLOAD_ORDER, PodClass
from mesh.survey.reasons import Reason
from tests.docs.page import REFERENCE, Page
from workflows.messages import Phase, Result

GLOSSARY = Page.read(REFERENCE / "glossary.md")
TABLES: dict[str, Iterable[str]] = {
    "Classes": PodClass,
    "Actions": Action,
    "Reasons": Reason,
    "Drift": Drift,
    "Phases": Phase,
    "Results": get_args(Result),
    "Outcomes of a restart": RestartOutcome,
    "Members of a wave": MemberStatus,
    "Item states": ItemState,
    "Wave groups": WaveGroup,
}


@pytest.mark.parametrize("title", TABLES)
def test_section_lists_every_value_in_the_order_of_the_code(title: str) -> None:
    assert GLOSSARY.section(title).column() == [str(value) for value in TABLES[title]]


@pytest.mark.parametrize("title", TABLES)
def test_every_value_is_explained_by_a_sentence(title: str) -> None:
    for value, *texts in GLOSSARY.section(title).rows():
        assert all(text.endswith(".") for text in texts), value


def test_order_of_classes_of_a_workload_is_that_of_the_code() -> None:
    text = " ".join(GLOSSARY.section("Classes").text.split())
    order = ", ".join(f"`{one}`" for one in WORKLOAD_ORDER)

    assert order in text
