"""Search attributes in the Temporal namespace: registered where this may be done, checked in any case."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from activities.search_attributes import ALL
from mesh.errors import RefusedError

#: Temporal Cloud and locked-down servers do not offer the operator service.
_NOT_ALLOWED = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.UNAUTHENTICATED})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AttributeCheck:
    """`missing` and `wrong` in the order of declaration; `wrong` are names with the type that is there."""

    missing: tuple[SearchAttributeKey[Any], ...]
    wrong: tuple[tuple[SearchAttributeKey[Any], str], ...]


async def ensure_search_attributes(client: Client) -> None:
    """Registers what is missing and checks the types; RefusedError with the command to run when that is not enough.

    Adding a name again with another type succeeds and changes nothing, so the types are compared here.
    """
    try:
        found = check_attributes(await registered(client))
    except RPCError as error:
        if error.status not in _NOT_ALLOWED:
            raise
        _log.warning("search_attributes_not_checked", extra={"fields": {"reason": error.message}})
        return
    if found.missing and not found.wrong:
        reason = await _add(client, found.missing)
        found = check_attributes(await registered(client))
        if found.missing:
            names = ", ".join(key.name for key in found.missing)
            raise RefusedError(
                f"Search attributes are missing in Temporal namespace {client.namespace} "
                f"and cannot be registered ({reason or 'no reason given'}): {names}.",
                f"Run: {create_command(client.namespace, found.missing)}",
            )
    if found.wrong:
        told = ", ".join(f"{key.name} is {there}, not {type_name(key)}" for key, there in found.wrong)
        keys = [key for key, _ in found.wrong]
        raise RefusedError(
            f"Search attributes in Temporal namespace {client.namespace} have another type: {told}.",
            f"Run: {remove_command(client.namespace, keys)} && {create_command(client.namespace, keys)}",
        )


async def registered(client: Client) -> Mapping[str, int]:
    """The namespace's own search attributes: name to type."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)


def check_attributes(there: Mapping[str, int]) -> AttributeCheck:
    """Compares what is declared with what is there."""
    missing = tuple(key for key in ALL if key.name not in there)
    wrong = tuple(
        (key, type_name_of(there[key.name]))
        for key in ALL
        if key.name in there and there[key.name] != int(key.indexed_value_type)
    )
    return AttributeCheck(missing, wrong)


def type_name(key: SearchAttributeKey[Any]) -> str:
    """`Keyword`, `Bool`, `Int`: as Temporal's CLI takes it."""
    return type_name_of(int(key.indexed_value_type))


def type_name_of(number: int) -> str:
    """The same of a number of the API."""
    name = IndexedValueType.Name(number)  # type: ignore[arg-type]  # generated enums want their own type of int
    return "".join(part.capitalize() for part in name.removeprefix("INDEXED_VALUE_TYPE_").split("_"))


def create_command(namespace: str, keys: tuple[SearchAttributeKey[Any], ...] | list[SearchAttributeKey[Any]]) -> str:
    """The command that registers them; it takes several at once."""
    pairs = " ".join(f"--name {key.name} --type {type_name(key)}" for key in keys)
    return f"temporal operator search-attribute create --namespace {namespace} {pairs}"


def remove_command(namespace: str, keys: list[SearchAttributeKey[Any]]) -> str:
    """The command that takes them away."""
    names = " ".join(f"--name {key.name}" for key in keys)
    return f"temporal operator search-attribute remove --namespace {namespace} {names} --yes"


async def _add(client: Client, keys: tuple[SearchAttributeKey[Any], ...]) -> str | None:
    """Tries to register; why it was refused, None when it was not. Another worker may have been faster."""
    wanted: dict[str, Any] = {key.name: int(key.indexed_value_type) for key in keys}
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=wanted)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return None
        return error.message
    _log.info("search_attributes_registered", extra={"fields": {"names": sorted(wanted)}})
    return None
