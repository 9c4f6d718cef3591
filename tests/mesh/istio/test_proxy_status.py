"""What istiods say about connected proxies, put together."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.istio.proxy_status import ConnectedProxies, IstiodListing, merge_listings, read_listing, read_version
from tests.mesh.build import few_examples


def answer(*proxies: tuple[str, str]) -> bytes:
    """As istiod writes it: a field without a value is left out."""
    fields = [{"proxy": proxy, "istio_version": version, "cluster_id": "Kubernetes"} for proxy, version in proxies]
    return json.dumps([{key: value for key, value in one.items() if value} for one in fields]).encode()


def together(**answers: bytes) -> ConnectedProxies:
    return merge_listings(read_listing(istiod, content) for istiod, content in answers.items())


@pytest.mark.parametrize(
    ("proxy", "namespace", "pod"),
    [
        ("cart-1.shop", "shop", "cart-1"),
        ("db.v1.0-0.shop", "shop", "db.v1.0-0"),
        ("istio-ingressgateway-5d.istio-system", "istio-system", "istio-ingressgateway-5d"),
    ],
)
def test_namespace_is_what_follows_the_last_dot(proxy: str, namespace: str, pod: str) -> None:
    found = together(one=answer((proxy, "1.30.2")))

    assert found == ConnectedProxies(versions={(namespace, pod): "1.30.2"})
    assert found.version_of(namespace, pod) == "1.30.2"


@pytest.mark.parametrize("proxy", ["", "cart-1", ".shop", "cart-1.", "."])
def test_proxy_that_names_no_pod_is_passed_over(proxy: str) -> None:
    found = together(one=answer((proxy, "1.30.2"), ("cart-1.shop", "1.30.2")))

    assert found == ConnectedProxies(versions={("shop", "cart-1"): "1.30.2"})


@pytest.mark.parametrize("version", ["1.30.2", "1.32-alpha.527f8d6c", "unknown", ""])
def test_version_stays_the_text_that_it_is(version: str) -> None:
    assert together(one=answer(("cart-1.shop", version))).version_of("shop", "cart-1") == version


def test_pod_that_no_istiod_lists_has_no_version() -> None:
    found = together(one=answer(("cart-1.shop", "1.30.2")), two=b"[]")

    assert found.version_of("shop", "cart-2") is None
    assert found.version_of("other", "cart-1") is None
    assert found.problems == ()


def test_each_istiod_adds_its_own_proxies() -> None:
    found = together(one=answer(("cart-1.shop", "1.30.2")), two=answer(("cart-2.shop", "1.29.3")))

    assert found == ConnectedProxies(versions={("shop", "cart-1"): "1.30.2", ("shop", "cart-2"): "1.29.3"})


def test_proxy_that_two_istiods_list_alike_has_that_version() -> None:
    same = answer(("cart-1.shop", "1.30.2"))

    assert together(one=same, two=same) == ConnectedProxies(versions={("shop", "cart-1"): "1.30.2"})


@pytest.mark.parametrize(
    ("answers", "doubt"),
    [
        ({"one": ["1.30.2"], "two": ["1.29.3"]}, "two istiods disagree: 1.29.3, 1.30.2"),
        ({"one": ["1.30.2"], "two": [""]}, "two istiods disagree: none, 1.30.2"),
        ({"one": ["1.30.2"], "two": ["1.29.3"], "three": ["1.29.3"]}, "3 istiods disagree: 1.29.3, 1.30.2"),
        ({"one": ["1.30.2", "1.29.3"]}, "one lists it more than once: 1.29.3, 1.30.2"),
        ({"one": ["1.30.2", "1.29.3"], "two": ["1.30.2"]}, "two istiods disagree: 1.29.3, 1.30.2"),
    ],
)
def test_several_versions_of_a_proxy_are_a_doubt_and_no_version(answers: dict[str, list[str]], doubt: str) -> None:
    found = together(**{name: answer(*(("cart-1.shop", one) for one in said)) for name, said in answers.items()})

    assert found == ConnectedProxies(doubts={("shop", "cart-1"): doubt})
    assert found.version_of("shop", "cart-1") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"<html>",
        b'{"proxy": "cart-1.shop"}',
        b'["cart-1.shop"]',
        b'[{"proxy": 1}]',
        b'[{"proxy": "cart-1.shop", "istio_version": null}]',
        b'[{"proxy": "cart-1.shop", "istio_version": "1.30.2"}',
        b'[{"proxy": "cart-1.shop", "istio_version": "\xff"}]',
        b'[{"proxy": ' + b"[" * 100_000,
        b'[{"other": ' + b"[" * 100_000,
    ],
)
def test_unreadable_answer_is_a_problem_and_the_others_count(content: bytes) -> None:
    found = together(one=content, two=answer(("cart-1.shop", "1.29.3")))

    assert found.versions == {("shop", "cart-1"): "1.29.3"}
    assert [problem.partition(" cannot be read: ")[0] for problem in found.problems] == ["the answer of one"]


def test_problem_of_an_istiod_is_kept() -> None:
    found = merge_listings([IstiodListing("one", problem="one does not answer"), read_listing("two", b"[]")])

    assert found == ConnectedProxies(problems=("one does not answer",))


PROXIES = st.tuples(st.sampled_from(["a.x", "b.x", "a.b.x", "a.y", "a"]), st.sampled_from(["1.29.3", "1.30.2", ""]))
ANSWERS = st.lists(PROXIES, max_size=6)


@few_examples
@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), ANSWERS | st.binary(max_size=20)), max_size=5))
def test_any_mix_of_answers_gives_a_version_only_where_all_agree(
    mix: list[tuple[str, list[tuple[str, str]] | bytes]],
) -> None:
    found = merge_listings(
        read_listing(istiod, said if isinstance(said, bytes) else answer(*said)) for istiod, said in mix
    )

    for namespace, pod in [("x", "a"), ("x", "b"), ("x", "a.b"), ("y", "a")]:
        claims = {
            version
            for _, said in mix
            if not isinstance(said, bytes)
            for proxy, version in said
            if proxy == f"{pod}.{namespace}"
        }
        assert found.version_of(namespace, pod) == (next(iter(claims)) if len(claims) == 1 else None)
        assert ((namespace, pod) in found.doubts) == (len(claims) > 1)
    assert all(len(problem.splitlines()) == 1 for problem in found.problems)


@few_examples
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["proxy", "istio_version", "other"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_content_is_a_listing(content: bytes) -> None:
    found = read_listing("one", content)

    assert found.problem is None or not found.connections


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (b"1.31.0-unknown-Clean", "1.31.0"),
        (b"1.30.2-4f3c1a-Modified\n", "1.30.2"),
        (b"1.32-alpha.527f8d6c-527f8d6c-Clean", "1.32-alpha.527f8d6c"),
        (b"unknown-unknown-unknown", None),
        (b"<html>not-found-here</html>", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_version_of_an_istiod_is_read_from_its_answer(answer: bytes, version: str | None) -> None:
    assert read_version(answer) == version


def test_version_of_a_revision_is_what_all_its_istiods_say() -> None:
    said = [("default", "1.30.2"), ("default", "1.30.2"), ("canary", "1.31.0"), ("canary", "1.31.1")]
    found = merge_listings(IstiodListing(f"i{n}", revision=rev, version=v) for n, (rev, v) in enumerate(said))

    assert found.istiod_versions == {"default": "1.30.2"}
