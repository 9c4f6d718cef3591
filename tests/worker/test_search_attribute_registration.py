import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, RemoveSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.search_attributes import ALL, PHASE, STALE_LEFT
from mesh.errors import RefusedError
from worker import search_attribute_registration
from worker.search_attribute_registration import (
    check_attributes,
    create_command,
    ensure_search_attributes,
    registered_attributes,
)


async def test_missing_attributes_are_registered_and_a_second_time_changes_nothing(bare_temporal: Client) -> None:
    await _remove_all(bare_temporal)
    assert check_attributes(await registered_attributes(bare_temporal)).missing == ALL

    await ensure_search_attributes(bare_temporal)
    await ensure_search_attributes(bare_temporal)

    found = check_attributes(await registered_attributes(bare_temporal))
    assert (found.missing, found.wrong) == ((), ())


async def test_attribute_of_another_type_stops_the_worker_with_the_command(bare_temporal: Client) -> None:
    service = bare_temporal.operator_service
    namespace = bare_temporal.namespace
    await ensure_search_attributes(bare_temporal)
    await service.remove_search_attributes(
        RemoveSearchAttributesRequest(namespace=namespace, search_attributes=[STALE_LEFT.name])
    )
    wrong = {STALE_LEFT.name: IndexedValueType.INDEXED_VALUE_TYPE_TEXT}
    await service.add_search_attributes(AddSearchAttributesRequest(namespace=namespace, search_attributes=wrong))
    try:
        with pytest.raises(RefusedError, match="KymaStaleLeft is Text, not Int") as refused:
            await ensure_search_attributes(bare_temporal)
        assert "search-attribute create --namespace default --name KymaStaleLeft --type Int" in refused.value.remedy
    finally:
        await service.remove_search_attributes(
            RemoveSearchAttributesRequest(namespace=namespace, search_attributes=[STALE_LEFT.name])
        )


async def test_attributes_that_may_not_be_registered_stop_the_worker_with_the_command(
    bare_temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> str:
        return "not allowed here"

    async def without_phase(_: Client) -> dict[str, int]:
        return {key.name: int(key.indexed_value_type) for key in ALL if key is not PHASE}

    monkeypatch.setattr(search_attribute_registration, "_register", refused)
    monkeypatch.setattr(search_attribute_registration, "registered_attributes", without_phase)

    with pytest.raises(RefusedError, match=r"not allowed here\): KymaPhase") as error:
        await ensure_search_attributes(bare_temporal)
    assert error.value.remedy == (
        "Run: temporal operator search-attribute create --namespace default --name KymaPhase --type Keyword"
    )


async def test_server_that_forbids_to_list_attributes_is_trusted(
    bare_temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(_: Client) -> dict[str, int]:
        raise RPCError("not offered", RPCStatusCode.UNIMPLEMENTED, b"")

    monkeypatch.setattr(search_attribute_registration, "registered_attributes", denied)

    await ensure_search_attributes(bare_temporal)


async def _remove_all(client: Client) -> None:
    """Removes what an earlier test has registered."""
    ours = [key.name for key in ALL if key.name in await registered_attributes(client)]
    if ours:
        await client.operator_service.remove_search_attributes(
            RemoveSearchAttributesRequest(namespace=client.namespace, search_attributes=ours)
        )


def test_command_registers_several_at_once() -> None:
    assert create_command("prod", [PHASE, STALE_LEFT]) == (
        "temporal operator search-attribute create --namespace prod "
        "--name KymaPhase --type Keyword --name KymaStaleLeft --type Int"
    )
