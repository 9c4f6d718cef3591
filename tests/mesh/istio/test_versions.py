"""Versions, and the steps that Kyma refuses."""

from __future__ import annotations

import pytest

from mesh.errors import RefusedError
from mesh.istio.versions import (
    Version,
    parse_version,
    refusal_of_istio_update,
    refusal_of_module_update,
    required_version,
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.30.2", Version(1, 30, 2)),
        ("v1.30.2", Version(1, 30, 2)),
        ("1.30.2-distroless", Version(1, 30, 2)),
        ("1.28.0-experimental", Version(1, 28, 0)),
        ("1.30", None),
        ("1.30.2.1", None),
        ("1.30.2\n", None),
        ("fast", None),
        ("", None),
    ],
)
def test_version_is_read(text: str, version: Version | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("current", "target", "words"),
    [
        ("1.10.0", "1.10.0", None),
        ("1.10.0", "1.10.0-beta.1", None),
        ("1.10.0", "1.10.3", None),
        ("1.10.0", "1.11.0", None),
        ("1.29.3-distroless", "1.30.2-distroless", None),
        ("1.11.0", "1.10.0", "lower than the installed 1.11.0"),
        ("1.16.1-distroless", "1.16.0-distroless", "lower than the installed 1.16.1"),
        ("2.0.0", "1.30.2", "lower than the installed 2.0.0"),
        ("1.10.0", "1.12.0", "upgrade to 1.11 first"),
        ("1.16.1-distroless", "1.18.0-distroless", "upgrade to 1.17 first"),
        ("1.10.0", "2.0.0", "another major version"),
    ],
)
def test_istio_is_updated_by_one_minor_at_most_and_never_down(current: str, target: str, words: str | None) -> None:
    found = refusal_of_istio_update(required_version(current, "current"), required_version(target, "target"))

    assert words in found if words and found else found == words


@pytest.mark.parametrize(
    ("current", "target", "refused"),
    [
        ("1.27.4", "1.30.0", False),
        ("1.27.4", "1.27.4-experimental", False),
        ("1.30.0", "1.27.4", True),
    ],
)
def test_module_is_never_updated_down(current: str, target: str, refused: bool) -> None:
    found = refusal_of_module_update(required_version(current, "current"), required_version(target, "target"))

    assert (found is not None) is refused


def test_text_that_is_no_version_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="target 'latest' is not a version"):
        required_version("latest", "target")
