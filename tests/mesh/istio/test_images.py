"""The grammar of proxy images, and the versions in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.istio.images import parse_image
from tests.mesh.build import few_examples

KYMA = "europe-docker.pkg.dev/kyma-project"


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        (f"{KYMA}/prod/external/istio/proxyv2:1.30.2-distroless", "1.30.2"),
        (f"{KYMA}/restricted-prod/external/istio/istio-proxy-fips:1.30.2-1", "1.30.2"),
        ("registry.istio.io/release/proxyv2:1.30.3-debug", "1.30.3"),
        ("docker.io/istio/proxyv2:1.30.3", "1.30.3"),
        ("istio/proxyv2:v1.30.3", "1.30.3"),
        ("gcr.io/gke-release/asm/proxyv2:1.11.2-asm.17-distroless", "1.11.2"),
        ("reg:5000/istio/proxyv2:1.30.2@sha256:abc", "1.30.2"),
        ("gcr.io/istio-testing/proxyv2:1.32-alpha.527f8d6c", None),
        ("gcr.io/istio-testing/proxyv2:1.32", None),
        ("istio/proxyv2:latest", None),
        ("istio/proxyv2:master-1.30.2", None),
        ("istio/proxyv2:1.30.2rc", None),
        ("reg:5000/istio/proxyv2", None),
        ("reg:5000/istio/proxyv2@sha256:abc", None),
        ("auto", None),
        ("", None),
    ],
)
def test_version_is_that_of_the_tag(reference: str, version: str | None) -> None:
    found = parse_image(reference).version

    assert (str(found) if found else None) == version


@pytest.mark.parametrize(
    ("reference", "repository", "tag", "digest"),
    [
        ("reg:5000/istio/proxyv2:1.30.2", "reg:5000/istio/proxyv2", "1.30.2", ""),
        ("reg:5000/istio/proxyv2@sha256:abc", "reg:5000/istio/proxyv2", "", "sha256:abc"),
        ("istio/proxyv2:1.30.2@sha256:abc", "istio/proxyv2", "1.30.2", "sha256:abc"),
        ("proxyv2:1.30.2", "proxyv2", "1.30.2", ""),
        ("istio/odd:name:1.30.2", "istio/odd:name", "1.30.2", ""),
        ("proxyv2", "proxyv2", "", ""),
    ],
)
def test_reference_is_cut_into_parts(reference: str, repository: str, tag: str, digest: str) -> None:
    found = parse_image(reference)

    assert (found.repository, found.tag, found.digest) == (repository, tag, digest)


@few_examples
@given(st.text() | st.text(alphabet="a1.-/:@", max_size=12))
def test_any_text_is_read_and_joins_to_itself(reference: str) -> None:
    found = parse_image(reference)
    tag = f":{found.tag}" if found.tag else ""
    digest = f"@{found.digest}" if found.digest else ""

    # Only the sign of a tag or digest that is announced and then empty gets lost.
    name = reference.partition("@")[0]
    assert found.repository + tag in (name, name.removesuffix(":"))
    assert name + digest in (reference, reference.removesuffix("@"))
