"""What a person can do: words for every reason, and commands that are safe to paste."""

from __future__ import annotations

import shlex

import pytest

from mesh.advice import advise
from mesh.causes import Reason
from mesh.owners import ARGO_ROLLOUT

REASONS = list(Reason)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_paragraph_and_commands_about_this_workload(reason: Reason) -> None:
    found = advise(reason, "shop", "Deployment", "cart", ("cart-1",))
    about = [one for one in found.commands if {"cart", "cart-1", "deployment/cart", "shop"} & set(shlex.split(one))]

    assert found.next_step.endswith(".")
    assert about
    assert not any("{" in one or "POD" in one for one in found.commands)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", ["a; rm -rf ~", "$(id)", "`id`", "a'b", "a b", "a\nb", "a > b"])
def test_names_cannot_leave_their_place_in_a_command(reason: Reason, name: str) -> None:
    plain = [shlex.split(one) for one in advise(reason, "N", "K", "N", ("N",)).commands]
    found = [shlex.split(one) for one in advise(reason, name, name, name, (name,)).commands]

    assert [len(one) for one in found] == [len(one) for one in plain]


@pytest.mark.parametrize("reason", REASONS)
def test_kind_cannot_become_shell_or_option(reason: Reason) -> None:
    found = advise(reason, "shop", "--server=evil;id $(id)", "cart", ())

    assert not any(sign in one for one in found.commands for sign in (";", "$", "(", " --server"))


@pytest.mark.parametrize("reason", REASONS)
def test_name_cannot_become_an_option(reason: Reason) -> None:
    found = advise(reason, "shop", "Widget.example.com", "--server=evil", ())

    assert not any("--server=evil" in shlex.split(one) for one in found.commands if reason is not Reason.STANDALONE_POD)


def test_kind_is_named_as_kubectl_does() -> None:
    found = advise(Reason.IMAGE_REWRITTEN, "shop", "Rollout.argoproj.io", "cart", ())

    assert "kubectl -n shop describe rollout.argoproj.io/cart" in found.commands


@pytest.mark.parametrize("reason", REASONS)
def test_argo_rollout_is_advised_with_its_own_plug_in(reason: Reason) -> None:
    commands = advise(reason, "shop", ARGO_ROLLOUT, "--server=evil", ()).commands

    assert not any(one.startswith("kubectl -n shop rollout ") for one in commands)
    for words in (shlex.split(one) for one in commands if one.startswith("kubectl argo rollouts ")):
        assert words[-2:] == ["--", "--server=evil"]


def test_command_about_a_pod_says_so_when_none_is_known() -> None:
    assert advise(Reason.POD_UNKNOWN, "shop", "Pod", "cart", ()).commands[1] == "kubectl -n shop get pod POD -o wide"


def test_item_without_reason_is_advised_all_the_same() -> None:
    assert advise(None, "shop", "Deployment", "cart", ()).commands
