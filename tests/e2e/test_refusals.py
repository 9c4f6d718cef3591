"""Bad input: refused before anything is changed, with a code and a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.kubectl import read
from deploy.local.service import Service
from tests.e2e.command import run

pytestmark = pytest.mark.mesh

_REACHABLE = "Choose one of: fast (module 1.30.0, Istio 1.30.2), regular (module 1.27.4, Istio 1.29.3), current."


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("nonsense", "'nonsense' is not a channel, module version or Istio version of this cluster."),
        ("previous", "module version 1.26.8 is lower than the installed 1.27.4"),
        ("1.26.8", "module version 1.26.8 is lower than the installed 1.27.4"),
        ("1.28.6", "Istio 1.28.6 (module 1.26.8, channel previous) is refused"),
    ],
)
def test_target_that_cannot_be_reached_is_refused_with_those_that_can(
    platform: Service, to: str, sentence: str
) -> None:
    before = read(platform.mesh, "kyma", "default", "-n", "kyma-system")["metadata"]["generation"]

    done = run(platform.environment, "start", "--to", to)

    assert done.code == 2
    assert sentence in done.stderr
    assert _REACHABLE in done.stderr
    assert done.stdout == ""
    assert read(platform.mesh, "kyma", "default", "-n", "kyma-system")["metadata"]["generation"] == before


def test_cluster_that_does_not_answer_ends_with_7(platform: Service, tmp_path: Path) -> None:
    config = platform.mesh.kubeconfig.read_text()
    dead = tmp_path / "kubeconfig"
    address = platform.mesh.state.api_server
    dead.write_text(config.replace(address, "https://127.0.0.1:1"))

    done = run(platform.environment, "start", "--to", "fast", "--kubeconfig", str(dead))

    assert done.code == 7
    assert "The cluster at https://127.0.0.1:1 does not answer" in done.stderr
    assert "Check the kubeconfig and the network." in done.stderr


def test_temporal_that_does_not_run_ends_with_7(platform: Service) -> None:
    done = run(platform.environment, "start", "--to", "fast", "--address", "127.0.0.1:1")

    assert done.code == 7
    assert "Temporal at 127.0.0.1:1 does not answer." in done.stderr


def test_policy_with_an_unknown_field_is_refused_by_its_name(platform: Service, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("inflight: {cluster: 3}\n")

    done = run(platform.environment, "start", "--to", "fast", "--policy", str(policy))

    assert done.code == 2
    assert "inflight" in done.stderr
