"""The policy's values: what travels in payloads, and that reading them back judges nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mesh.plan.policy import Budget, Exclude, Gates, InFlight, Policy, PrometheusGate, Waves
from worker.data_converter import data_converter

#: As the first version wrote it. A field that is added later has a default.
WRITTEN = (
    '{"waves":{"canary":0.01,"steps":[0.1,0.3,1.0],"max_workloads":200},"in_flight":{"cluster":50,"namespace":5},'
    '"budget":{"failed":0.02,"at_least":3},"soak":"PT5M","approve":[],"windows":[],'
    '"no_progress":{"rollout":"PT15M","control_plane":"PT30M"},"missing":"report","remediation":"handoff",'
    '"remediation_timeout":"P3D","restarts":"ours","exclude":{"namespaces":[]},"gates":{"prometheus":null}}'
)
#: Each value is one that the policy file of today refuses.
REFUSED = Policy(
    waves=Waves(canary=7.0, steps=(0.9, 0.1), max_workloads=100_000),
    in_flight=InFlight(cluster=0, namespace=0),
    budget=Budget(failed=-1.0, at_least=-1),
    soak=timedelta(seconds=-5),
    approve=("canry",),
    windows=("Sta 00:00-04:00 Europe/Atlantis",),
    exclude=Exclude(namespaces=("not a name",)),
    gates=Gates(PrometheusGate(address="prometheus", query="", below=0)),
)


def _written(policy: Policy) -> bytes:
    [payload] = data_converter.payload_converter.to_payloads([policy])
    return payload.data


def _read_back(policy: Policy) -> Policy:
    converter = data_converter.payload_converter
    [read] = converter.from_payloads(converter.to_payloads([policy]), [Policy])
    assert isinstance(read, Policy)
    return read


def test_fields_in_payloads_are_snake_case_and_fixed() -> None:
    assert _written(Policy()).decode() == WRITTEN


def test_policy_is_read_back_as_it_was_written() -> None:
    policy = replace(REFUSED, remediation="wait", restarts="module", missing="restart")

    assert _read_back(policy) == policy
    assert _read_back(Policy()) == Policy()


def test_values_that_the_file_refuses_today_are_read_back_without_validation() -> None:
    assert _read_back(REFUSED) == REFUSED


def test_policy_that_was_written_before_a_field_existed_has_its_default() -> None:
    written = WRITTEN.replace('"approve":[],"windows":[],', "").replace(',"gates":{"prometheus":null}', "")
    converter = data_converter.payload_converter
    [payload] = converter.to_payloads([Policy()])
    payload.data = written.encode()

    [read] = converter.from_payloads([payload], [Policy])

    assert len(written) < len(WRITTEN)
    assert read == Policy()
