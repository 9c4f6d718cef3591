"""Search attributes in the Temporal namespace: registered where that is allowed, and always checked."""

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
    """Declared attributes that are `missing`, and those that have a `wrong` type in Temporal, with that type."""

    missing: tuple[SearchAttributeKey[Any], ...]
    wrong: tuple[tuple[SearchAttributeKey[Any], str], ...]


async def ensure_search_attributes(client: Client) -> None:
    """Registers missing search attributes and checks the types of all.

    To add a name again with another type succeeds and changes nothing, so the types are compared here.

    Raises:
        RefusedError: some are missing or have another type; the remedy is the command to run.
    """
    try:
        check = check_attributes(await registered_attributes(client))
    except RPCError as error:
        if error.status not in _NOT_ALLOWED:
            raise
        _log.warning("search_attributes_not_checked", extra={"fields": {"reason": error.message}})
        return
    if check.missing and not check.wrong:
        reason = await _register(client, check.missing)
        check = check_attributes(await registered_attributes(client))
        if check.missing:
            names = ", ".join(key.name for key in check.missing)
            raise RefusedError(
                f"Search attributes are missing in Temporal namespace {client.namespace} "
                f"and cannot be registered ({reason or 'no reason given'}): {names}.",
                f"Run: {create_command(client.namespace, check.missing)}",
            )
    if check.wrong:
        types = ", ".join(f"{key.name} is {actual}, not {type_name(key)}" for key, actual in check.wrong)
        keys = [key for key, _ in check.wrong]
        raise RefusedError(
            f"Search attributes in Temporal namespace {client.namespace} have another type: {types}.",
            f"Run: {remove_command(client.namespace, keys)} && {create_command(client.namespace, keys)}",
        )


async def registered_attributes(client: Client) -> Mapping[str, int]:
    """Returns the custom search attributes of the namespace: the type number by name."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)


def check_attributes(actual: Mapping[str, int]) -> AttributeCheck:
    """Compares the declared search attributes with the registered ones."""
    missing = tuple(key for key in ALL if key.name not in actual)
    wrong = tuple(
        (key, _type_name(actual[key.name]))
        for key in ALL
        if key.name in actual and actual[key.name] != int(key.indexed_value_type)
    )
    return AttributeCheck(missing, wrong)


def type_name(key: SearchAttributeKey[Any]) -> str:
    """Returns the type of an attribute as Temporal's CLI takes it: `Keyword`, `Bool`, `Int`."""
    return _type_name(int(key.indexed_value_type))


def _type_name(number: int) -> str:
    name = IndexedValueType.Name(number)  # type: ignore[arg-type]  # generated enums want their own type of int
    return "".join(part.capitalize() for part in name.removeprefix("INDEXED_VALUE_TYPE_").split("_"))


def create_command(namespace: str, keys: tuple[SearchAttributeKey[Any], ...] | list[SearchAttributeKey[Any]]) -> str:
    """Returns the command that registers these attributes."""
    pairs = " ".join(f"--name {key.name} --type {type_name(key)}" for key in keys)
    return f"temporal operator search-attribute create --namespace {namespace} {pairs}"


def remove_command(namespace: str, keys: list[SearchAttributeKey[Any]]) -> str:
    """Returns the command that removes these attributes."""
    names = " ".join(f"--name {key.name}" for key in keys)
    return f"temporal operator search-attribute remove --namespace {namespace} {names} --yes"


async def _register(client: Client, keys: tuple[SearchAttributeKey[Any], ...]) -> str | None:
    """Registers attributes; returns why Temporal refused, None if it did not. Another worker may have been faster."""
    types: dict[str, Any] = {key.name: int(key.indexed_value_type) for key in keys}
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return None
        return error.message
    _log.info("search_attributes_registered", extra={"fields": {"names": sorted(types)}})
    return None
