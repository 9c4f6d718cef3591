from pathlib import Path

import pytest

from mesh.errors import RefusedError
from worker.settings import load_settings

_VARIABLES = ("KUBECONFIG", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".kyma-upgrade.toml").write_text(
        'cluster = "demo"\ncontext = "demo-admin"\nkubeconfig = "/demo/kubeconfig"\n'
        'address = "localhost:1234"\nnamespace = "shop"\nui = "http://localhost:5678"\n'
    )
    below = tmp_path / "docs" / "deep"
    below.mkdir(parents=True)
    return below


def test_profile_of_a_parent_directory_names_cluster_and_temporal(checkout: Path) -> None:
    settings = load_settings(directory=checkout)

    assert settings.cluster.model_dump() == {
        "cluster": "demo",
        "context": "demo-admin",
        "kubeconfig": "/demo/kubeconfig",
    }
    assert (settings.temporal.address, settings.temporal.namespace, settings.temporal.ui) == (
        "localhost:1234",
        "shop",
        "http://localhost:5678",
    )


def test_environment_wins_over_profile_and_flags_over_both(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KYMA_UPGRADE_NAMESPACE", "of-environment")
    monkeypatch.setenv("KYMA_UPGRADE_CLUSTER", "of-environment")

    settings = load_settings({"cluster": "of-flag", "address": None}, checkout)

    assert settings.cluster.cluster == "of-flag"
    assert settings.temporal.namespace == "of-environment"
    assert settings.temporal.address == "localhost:1234"


def test_another_kubeconfig_drops_the_profiles_context_and_name(checkout: Path) -> None:
    settings = load_settings({"kubeconfig": "/mine"}, checkout)

    assert settings.cluster.model_dump() == {"cluster": None, "context": None, "kubeconfig": "/mine"}


def test_kubeconfig_variable_wins_over_profile(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/mine")

    settings = load_settings(directory=checkout)

    assert settings.cluster.kubeconfig is None
    assert settings.cluster.context is None


def test_kubeconfig_variable_with_the_profiles_own_file_changes_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/demo/kubeconfig")

    assert load_settings(directory=checkout).cluster.cluster == "demo"


def test_another_context_drops_the_profiles_name(checkout: Path) -> None:
    settings = load_settings({"context": "other"}, checkout)

    assert (settings.cluster.cluster, settings.cluster.context) == (None, "other")
    assert settings.cluster.kubeconfig == "/demo/kubeconfig"


@pytest.mark.parametrize("variable", ["TEMPORAL_ADDRESS", "TEMPORAL_PROFILE"])
def test_another_temporal_drops_the_profiles_namespace_and_ui(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "elsewhere:7233")

    settings = load_settings(directory=checkout)

    assert (settings.temporal.address, settings.temporal.namespace, settings.temporal.ui) == (None, None, None)


def test_temporal_namespace_variable_wins_over_profile(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "other")

    settings = load_settings(directory=checkout)

    assert settings.temporal.namespace is None
    assert settings.temporal.address == "localhost:1234"


def test_defaults_without_any_source(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path)

    assert settings.profile is None
    assert settings.worker.concurrency >= 250
    assert settings.cluster.kubeconfig is None


def test_invalid_value_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KYMA_UPGRADE_CONCURRENCY", "many")

    with pytest.raises(RefusedError, match="KYMA_UPGRADE_CONCURRENCY: 'many' is not a number"):
        load_settings(directory=tmp_path)


def test_invalid_value_of_the_profile_is_refused_by_its_key(tmp_path: Path) -> None:
    (tmp_path / ".kyma-upgrade.toml").write_text("connect_timeout = 'soon'\n")

    with pytest.raises(RefusedError, match=r"connect_timeout in \.kyma-upgrade\.toml: 'soon' is not a number"):
        load_settings(directory=tmp_path)


def test_broken_profile_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / ".kyma-upgrade.toml").write_text("cluster = ")

    with pytest.raises(RefusedError, match=r"\.kyma-upgrade\.toml"):
        load_settings(directory=tmp_path)


def test_environment_cannot_name_the_profile_file(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KYMA_UPGRADE_PROFILE", "/other.toml")

    assert load_settings(directory=checkout).cluster.cluster == "demo"
