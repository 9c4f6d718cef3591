"""The policy file: defaults, units, and refusals that name the field."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.errors import RefusedError
from mesh.policy import Policy, load_policy, parse_duration


def test_empty_policy_has_the_defaults_of_the_contract() -> None:
    found = load_policy("", "p.yaml")

    assert found == Policy()
    assert (found.waves.canary, found.waves.steps, found.waves.max_workloads) == (0.01, (0.1, 0.3, 1.0), 200)
    assert (found.in_flight.cluster, found.in_flight.namespace) == (50, 5)
    assert (found.budget.failed, found.budget.at_least) == (0.02, 3)
    assert found.soak == timedelta(minutes=5)
    assert found.no_progress.rollout == timedelta(minutes=15)
    assert found.no_progress.control_plane == timedelta(minutes=30)
    assert (found.missing, found.restarts, found.exclude.namespaces) == ("report", "ours", ())


def test_every_field_is_read_as_the_contract_writes_it() -> None:
    text = """
        waves: {canary: 5%, steps: [50%, 100%], maxWorkloads: 20}
        inFlight: {cluster: 10, namespace: 2}
        budget: {failed: 0.1, atLeast: 1}
        soak: 1h30m
        noProgress: {rollout: 90s, controlPlane: 1d}
        missing: restart
        restarts: module
        exclude: {namespaces: [legacy]}
    """
    found = load_policy(text, "p.yaml")

    assert (found.waves.canary, found.waves.steps, found.waves.max_workloads) == (0.05, (0.5, 1.0), 20)
    assert (found.in_flight.cluster, found.in_flight.namespace) == (10, 2)
    assert (found.budget.failed, found.budget.at_least) == (0.1, 1)
    assert found.soak == timedelta(hours=1, minutes=30)
    assert (found.no_progress.rollout, found.no_progress.control_plane) == (timedelta(seconds=90), timedelta(days=1))
    assert (found.missing, found.restarts, found.exclude.namespaces) == ("restart", "module", ("legacy",))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("0s", timedelta(0)),
        ("soon", "soon"),
        (5, 5),
    ],
)
def test_duration_is_read_or_left_to_be_judged(text: object, duration: object) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("pace: slow", "pace", id="unknown-field"),
        pytest.param("waves: {cannary: 1%}", "waves.cannary", id="unknown-field-within"),
        pytest.param("waves: {steps: [30%, 10%, 100%]}", "waves.steps", id="steps-that-shrink"),
        pytest.param("waves: {steps: [10%, 10%, 100%]}", "waves.steps", id="steps-that-do-not-grow"),
        pytest.param("waves: {steps: [10%, 30%]}", "waves.steps", id="steps-that-leave-some"),
        pytest.param("waves: {steps: []}", "waves.steps", id="no-steps"),
        pytest.param("waves: {canary: 101%}", "waves.canary", id="more-than-all"),
        pytest.param("waves: {canary: 5}", "waves.canary", id="share-without-percent"),
        pytest.param("waves: {canary: .nan}", "waves.canary", id="share-is-no-number"),
        pytest.param("waves: {maxWorkloads: 201}", "waves.maxWorkloads", id="wave-too-large"),
        pytest.param("waves: {maxWorkloads: 0}", "waves.maxWorkloads", id="wave-of-none"),
        pytest.param(
            f"waves: {{steps: [{', '.join(f'{n / 2}%' for n in range(1, 201))}]}}", "waves.steps", id="too-many-steps"
        ),
        pytest.param(f"exclude: {{namespaces: [{'a, ' * 1001}]}}", "exclude.namespaces", id="too-many-namespaces"),
        pytest.param(f"exclude: {{namespaces: [{'a' * 64}]}}", "exclude.namespaces", id="no-name-of-a-namespace"),
        pytest.param("inFlight: {cluster: 0}", "inFlight.cluster", id="none-in-flight"),
        pytest.param("soak: soon", "soak", id="no-duration"),
        pytest.param("soak: -5", "soak", id="negative-duration"),
        pytest.param("missing: ignore", "missing", id="unknown-choice"),
        pytest.param("- waves", "the file", id="a-list"),
        pytest.param("slow", "the file", id="a-word"),
        pytest.param("waves: [", "line 1", id="no-yaml"),
        pytest.param("soak: 2026-13-45", "p.yaml", id="an-impossible-date"),
    ],
)
def test_policy_that_cannot_be_meant_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(RefusedError) as refused:
        load_policy(text, "p.yaml")

    assert "p.yaml" in refused.value.message
    assert named in refused.value.message
    assert refused.value.remedy
