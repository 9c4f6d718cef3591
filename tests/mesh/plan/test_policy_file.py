"""The policy file: defaults, units, and refusals that name the field."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from mesh.errors import RefusedError
from mesh.plan.policy import Gates, Policy, PrometheusGate
from mesh.plan.policy_file import PolicyFile, parse_policy_file


def test_empty_policy_has_the_documented_defaults() -> None:
    found = parse_policy_file("", "p.yaml")

    assert found == Policy()
    assert (found.waves.canary, found.waves.steps, found.waves.max_workloads) == (0.01, (0.1, 0.3, 1.0), 200)
    assert (found.in_flight.cluster, found.in_flight.namespace) == (50, 5)
    assert (found.budget.failed, found.budget.at_least) == (0.02, 3)
    assert found.soak == timedelta(minutes=5)
    assert found.no_progress.rollout == timedelta(minutes=15)
    assert found.no_progress.control_plane == timedelta(minutes=30)
    assert (found.missing, found.restarts, found.exclude.namespaces) == ("report", "ours", ())
    assert (found.approve, found.windows, found.remediation, found.gates) == ((), (), "handoff", Gates())


def test_every_field_is_read_as_documented() -> None:
    text = """
        waves: {canary: 5%, steps: [50%, 100%], maxWorkloads: 20}
        inFlight: {cluster: 10, namespace: 2}
        budget: {failed: 0.1, atLeast: 1}
        soak: 1h30m
        noProgress: {rollout: 90s, controlPlane: 1d}
        missing: restart
        restarts: module
        exclude: {namespaces: [legacy]}
        approve: [canary, gateways, 3, "07"]
        windows: ["Sat-Sun 00:00-04:00 Europe/Berlin", "Sun 00:00-24:00"]
        remediation: wait
        gates: {prometheus: {address: "http://prometheus:9090", query: up == 0, below: 0.01}}
    """
    found = parse_policy_file(text, "p.yaml")

    assert (found.waves.canary, found.waves.steps, found.waves.max_workloads) == (0.05, (0.5, 1.0), 20)
    assert (found.in_flight.cluster, found.in_flight.namespace) == (10, 2)
    assert (found.budget.failed, found.budget.at_least) == (0.1, 1)
    assert found.soak == timedelta(hours=1, minutes=30)
    assert (found.no_progress.rollout, found.no_progress.control_plane) == (timedelta(seconds=90), timedelta(days=1))
    assert (found.missing, found.restarts, found.exclude.namespaces) == ("restart", "module", ("legacy",))
    assert found.approve == ("canary", "gateways", "3", "7")
    assert found.windows == ("Sat-Sun 00:00-04:00 Europe/Berlin", "Sun 00:00-24:00")
    assert found.remediation == "wait"
    assert found.gates.prometheus == PrometheusGate(address="http://prometheus:9090", query="up == 0", below=0.01)


def test_file_and_values_have_the_same_fields_and_defaults() -> None:
    # One by one: a section that is not converted would compare unequal.
    file, policy = PolicyFile(), Policy()

    assert set(PolicyFile.model_fields) == {field.name for field in fields(Policy)}
    assert file.policy() == policy
    for name, section in file:
        value = getattr(policy, name)
        if is_dataclass(value):
            assert dict(section) == {field.name: getattr(value, field.name) for field in fields(value)}


def example() -> str:
    """The policy in docs/policy.md."""
    [text] = re.findall(r"```yaml\n(.*?)```", Path("docs/policy.md").read_text(), re.DOTALL)
    return str(text)


def test_example_of_the_docs_is_a_policy_with_every_field() -> None:
    fields = yaml.safe_load(example())
    schema = PolicyFile.model_json_schema(by_alias=True)

    parse_policy_file(example(), "docs/policy.md")
    assert set(fields) == set(schema["properties"])
    for name, part in schema["properties"].items():
        if "$ref" in part:
            within = schema["$defs"][part["$ref"].rpartition("/")[2]]["properties"]
            assert set(fields[name]) == set(within), name


def test_schema_describes_every_field_in_the_words_of_the_file() -> None:
    schema = PolicyFile.model_json_schema(by_alias=True)
    sections = [schema, *schema["$defs"].values()]
    fields = {name: part for section in sections for name, part in section["properties"].items()}

    assert all(part["description"] for part in (*sections, *fields.values()))
    assert "title" not in {key for part in (*sections, *fields.values()) for key in part}
    assert "mesh." not in str(schema)
    assert {name: fields[name]["default"] for name in ("soak", "rollout", "remediationTimeout")} == {
        "soak": "5m",
        "rollout": "15m",
        "remediationTimeout": "3d",
    }
    assert "default" not in fields["namespaces"]


def test_windows_that_the_docs_show_are_windows() -> None:
    shown = re.findall(r"^\| `(.+?)` \|", Path("docs/policy.md").read_text(), re.MULTILINE)

    assert len(shown) >= 5
    for text in shown:
        assert PolicyFile(windows=(text,)).policy().windows == (text,)


#: Policies that cannot be meant: the field that is wrong, and what is said of it.
BAD_POLICIES = [
    pytest.param("pace: slow", "pace: is not a field of the policy", id="unknown-field"),
    pytest.param("waves: {cannary: 1%}", "waves.cannary: is not a field of the policy", id="unknown-field-within"),
    pytest.param("waves: {steps: [30%, 10%, 100%]}", "waves.steps: must grow", id="steps-that-shrink"),
    pytest.param("waves: {steps: [10%, 10%, 100%]}", "waves.steps: must grow", id="steps-that-do-not-grow"),
    pytest.param("waves: {steps: [10%, 30%]}", "waves.steps: must grow", id="steps-that-leave-some"),
    pytest.param("waves: {steps: [0%, 100%]}", "waves.steps: must grow", id="step-of-none"),
    pytest.param("waves: {steps: []}", "waves.steps: must grow", id="no-steps"),
    pytest.param("waves: {steps: 100%}", "waves.steps: must be a list", id="a-step-alone"),
    pytest.param(
        "waves: {steps: [10%, 101%]}", "waves.steps, entry 2: 101% is more than 100%", id="step-of-more-than-all"
    ),
    pytest.param("waves: {canary: 101%}", "waves.canary: 101% is more than 100%", id="more-than-all"),
    pytest.param("waves: {canary: 5}", "waves.canary: must be at most 1.", id="share-without-percent"),
    pytest.param(
        "waves: {canary: -1%}", "waves.canary: '-1%' is not a number or a share such as 10%.", id="share-below-none"
    ),
    pytest.param("waves: {canary: .nan}", "waves.canary: must be at most 1.", id="share-is-no-number"),
    pytest.param("budget: {failed: 200%}", "budget.failed: 200% is more than 100%", id="budget-of-more-than-all"),
    pytest.param("budget: {atLeast: -1}", "budget.atLeast: must be at least 0.", id="budget-below-none"),
    pytest.param("waves: {maxWorkloads: 201}", "waves.maxWorkloads: must be at most 200.", id="wave-too-large"),
    pytest.param("waves: {maxWorkloads: 0}", "waves.maxWorkloads: must be at least 1.", id="wave-of-none"),
    pytest.param("inFlight: {cluster: 0}", "inFlight.cluster: must be at least 1.", id="none-in-flight"),
    pytest.param(
        "inFlight: {namespace: 0}", "inFlight.namespace: must be at least 1.", id="none-in-flight-of-a-namespace"
    ),
    pytest.param("noProgress: {rollout: 0s}", "noProgress.rollout: must be longer than 0s", id="no-time-to-roll"),
    pytest.param("noProgress: {controlPlane: 0m}", "noProgress.controlPlane: must be longer", id="no-time-at-all"),
    pytest.param("inFlight: {cluster: 1.5}", "inFlight.cluster: must be a whole number.", id="half-a-workload"),
    pytest.param("inFlight: {cluster: many}", "inFlight.cluster: must be a whole number.", id="number-in-words"),
    pytest.param("inFlight: {cluster: [1]}", "inFlight.cluster: must be a whole number.", id="list-for-a-number"),
    pytest.param(
        "soak: 5 minutes", "soak: '5 minutes' is not a duration. Write 30m, 2h30m or 3d.", id="duration-in-words"
    ),
    pytest.param("soak: [5m]", "is not a duration. Write 30m, 2h30m or 3d.", id="list-for-a-duration"),
    pytest.param("soak: -5", "soak: must be at least 0s.", id="negative-duration"),
    pytest.param("restarts: theirs", "restarts: must be 'ours' or 'module'.", id="unknown-restarter"),
    pytest.param("1: slow", "1: is not a field of the policy.", id="field-that-is-a-number"),
    pytest.param("windows: [5]", "windows, entry 1: must be a text.", id="number-for-a-window"),
    pytest.param("missing: ignore", "missing: must be 'report' or 'restart'.", id="unknown-choice"),
    pytest.param("remediation: later", "remediation: must be 'handoff' or 'wait'.", id="unknown-remediation"),
    pytest.param("exclude: {}", "exclude.namespaces: selects nothing", id="selector-without-a-word"),
    pytest.param("exclude: {namespaces: []}", "exclude.namespaces: selects nothing", id="empty-selector"),
    pytest.param(
        "exclude: {namespaces: ['']}",
        "exclude.namespaces, entry 1: '' is not a namespace name.",
        id="selector-of-no-name",
    ),
    pytest.param(
        "exclude: {namespaces: [shop, legacy-*]}",
        "exclude.namespaces, entry 2: 'legacy-*' is not a namespace name.",
        id="selector-with-a-pattern",
    ),
    pytest.param("exclude:", "exclude: must hold fields with values", id="field-without-a-value"),
    pytest.param("windows: Sat 00:00-04:00", "windows: must be a list", id="window-alone"),
    pytest.param(
        "windows: ['00:00-24:00', Sta 00:00-04:00]",
        'windows, entry 2: "Sta 00:00-04:00" is not a maintenance window: "Sta" is not a day of the week; a valid',
        id="no-window",
    ),
    pytest.param(
        "windows: [Sat 00:00-04:00, Sun 00:00-04:00]",
        'windows: "Sat 00:00-04:00" and "Sun 00:00-04:00" are never open together; alternatives are one text',
        id="windows-that-never-open-together",
    ),
    pytest.param("approve: canary", "approve: must be a list", id="approval-alone"),
    pytest.param(
        "approve: [canary, canry]",
        "approve, entry 2: 'canry' must be canary, gateways, all or the number of a wave.",
        id="no-wave",
    ),
    pytest.param("approve: [-1]", "approve, entry 1: '-1' must be canary", id="no-number-of-a-wave"),
    pytest.param("approve: [yes]", "approve, entry 1: must be a text.", id="approve-yes"),
    pytest.param("gates: {grafana: {}}", "gates.grafana: is not a field of the policy", id="unknown-gate"),
    pytest.param("gates: {prometheus: {}}", "gates.prometheus.address: is missing.", id="gate-without-anything"),
    pytest.param(
        "gates: {prometheus: {address: 'prometheus:9090', query: up, below: 1}}",
        "gates.prometheus.address: must be an address such as",
        id="gate-without-scheme",
    ),
    pytest.param(
        "gates: {prometheus: {address: 'http://me:secret@prometheus', query: up, below: 1}}",
        "gates.prometheus.address: must name no user and no password",
        id="gate-with-a-secret",
    ),
    pytest.param(
        "gates: {prometheus: {address: 'http://prometheus', query: ' ', below: 1}}",
        "gates.prometheus.query: must not be empty.",
        id="gate-without-query",
    ),
    pytest.param(
        "gates: {prometheus: {address: 'http://prometheus', query: up, below: .nan}}",
        "gates.prometheus.below: must be a finite number.",
        id="gate-without-a-limit",
    ),
    pytest.param(
        f"waves: {{steps: [{', '.join(f'{n / 2}%' for n in range(1, 201))}]}}",
        "waves.steps: must have at most 100 entries.",
        id="too-many-steps",
    ),
    pytest.param(
        f"exclude: {{namespaces: [{'a, ' * 1001}]}}",
        "exclude.namespaces: must have at most 500 entries.",
        id="too-many-namespaces",
    ),
    pytest.param(
        f"exclude: {{namespaces: [{'a' * 64}]}}",
        "exclude.namespaces, entry 1: must have at most 63 characters.",
        id="no-name-of-a-namespace",
    ),
    pytest.param(
        "gates: {prometheus: {address: 'http://prometheus', query: up, below: low}}",
        "gates.prometheus.below: 'low' is not a number.",
        id="limit-in-words",
    ),
    pytest.param("- waves", "the file must hold fields with values.", id="a-list"),
    pytest.param("slow", "the file must hold fields with values.", id="a-word"),
    pytest.param("waves: [", ": line 1 is not valid YAML.", id="no-yaml"),
    pytest.param("soak: 2026-13-45", ": the file is not valid YAML.", id="an-impossible-date"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD_POLICIES)
def test_policy_that_cannot_be_meant_is_refused_with_its_field_and_the_reason(text: str, sentence: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_policy_file(text, "p.yaml")

    assert refused.value.message.startswith("Policy p.yaml")
    assert sentence in refused.value.message
    assert "secret" not in refused.value.message
    assert refused.value.remedy
