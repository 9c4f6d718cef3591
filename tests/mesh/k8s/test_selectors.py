"""Label selectors, as the API server evaluates them."""

from __future__ import annotations

import pytest

from mesh.k8s.selectors import LabelSelector, Requirement


def having(key: str, operator: str, *values: str) -> LabelSelector:
    return LabelSelector(match_expressions=(Requirement(key, operator, values),))


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        pytest.param(LabelSelector(), {}, True, id="empty-takes-all"),
        pytest.param(LabelSelector(match_labels={"a": "1"}), {"a": "1", "b": "2"}, True, id="labels"),
        pytest.param(LabelSelector(match_labels={"a": "1"}), {"a": "2"}, False, id="labels-differ"),
        pytest.param(having("a", "In", "1", "2"), {"a": "2"}, True, id="in"),
        pytest.param(having("a", "In", "1"), {}, False, id="in-needs-the-key"),
        pytest.param(having("a", "NotIn", "1"), {"a": "1"}, False, id="not-in"),
        pytest.param(having("a", "NotIn", "1"), {}, True, id="not-in-without-the-key"),
        pytest.param(having("a", "Exists"), {"a": ""}, True, id="exists-though-empty"),
        pytest.param(having("a", "DoesNotExist"), {"a": ""}, False, id="does-not-exist"),
        pytest.param(having("a", "Sounds", "1"), {"a": "1"}, False, id="unknown-operator"),
    ],
)
def test_selector_matches(selector: LabelSelector, labels: dict[str, str], matches: bool) -> None:
    assert selector.matches(labels) is matches


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        pytest.param(LabelSelector(), "", id="empty"),
        pytest.param(LabelSelector(match_labels={"b": "2", "a": "1"}), "a=1,b=2", id="labels"),
        pytest.param(having("a", "In", "1", "2"), "a in (1,2)", id="in"),
        pytest.param(having("a", "NotIn", "1"), "a notin (1)", id="not-in"),
        pytest.param(having("a", "Exists"), "a", id="exists"),
        pytest.param(having("a", "DoesNotExist"), "!a", id="does-not-exist"),
    ],
)
def test_query_is_what_a_list_takes(selector: LabelSelector, query: str) -> None:
    assert selector.query() == query
