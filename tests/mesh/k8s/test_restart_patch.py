"""The patch that restarts a workload, and the mark that it leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Metadata, Workload, WorkloadSpec
from mesh.k8s.restart_patch import mark_of, restart_patch
from mesh.wellknown import RESTARTED_AT
from tests.mesh.build import NOW, few_examples, pod, template, workload


def marked(text: str) -> Workload:
    return workload(made_from=template(None, {RESTARTED_AT: text}))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-09-05T12:00:00Z", NOW),
        ("2026-09-05T14:00:00+02:00", NOW),
        ("2026-09-05T12:00:00.123456789Z", NOW.replace(microsecond=123456)),
        ("2026-09-05T12:00:00", None),
        ("2026-09-05", None),
        ("now", None),
        ("", None),
    ],
)
def test_mark_is_a_time_with_a_zone_or_none(text: str, moment: datetime | None) -> None:
    assert mark_of(marked(text)) == moment


def test_workload_without_mark_or_template_has_none() -> None:
    assert mark_of(workload()) is None
    assert mark_of(Workload()) is None


@few_examples
@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})"))
def test_mark_of_any_text_can_be_compared(text: str) -> None:
    found = mark_of(marked(text))

    assert found is None or found <= datetime.max.replace(tzinfo=UTC) or found.utcoffset()


@pytest.mark.parametrize(
    ("text", "moment"), [("2026-09-05T12:00:00Z", NOW), ("2026-09-05T12:00:00", None), ("soon", None), (None, None)]
)
def test_mark_of_an_argo_rollout_is_the_time_of_its_restart(text: str | None, moment: datetime | None) -> None:
    one = workload(ARGO_ROLLOUT)

    assert mark_of(msgspec.structs.replace(one, spec=WorkloadSpec(restart_at=text))) == moment


def test_restart_is_one_annotation_on_what_was_read() -> None:
    metadata = Metadata(name="cart", uid="u-1", resource_version="42")

    assert restart_patch(Workload(kind="Deployment", metadata=metadata), [pod()], NOW) == {
        "metadata": {"resourceVersion": "42", "uid": "u-1"},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "2026-09-05T12:00:00Z"}}}},
    }


@pytest.mark.parametrize(
    ("ages", "restart"),
    [
        pytest.param([], "2026-09-05T12:00:00Z", id="no-pod"),
        pytest.param([timedelta(days=1), timedelta(minutes=1)], "2026-09-05T12:00:00Z", id="pods-are-older"),
        pytest.param([timedelta(0)], "2026-09-05T12:00:01Z", id="pod-of-that-second"),
        pytest.param([timedelta(days=1), timedelta(seconds=-20)], "2026-09-05T12:00:21Z", id="clock-is-behind"),
    ],
)
def test_restart_of_an_argo_rollout_reaches_every_stale_pod(ages: list[timedelta], restart: str) -> None:
    one = Workload(kind=ARGO_ROLLOUT, metadata=Metadata(name="cart", uid="u-1", resource_version="42"))
    stale = [pod(f"cart-{number}", age=age) for number, age in enumerate(ages)]

    assert restart_patch(one, stale, NOW) == {
        "metadata": {"resourceVersion": "42", "uid": "u-1"},
        "spec": {"restartAt": restart},
    }
