"""Collects from the code every name that leaves the process: in Temporal's histories, the cluster, and JSON documents.

    .venv/bin/python -m tests.wire_names

writes them to `tests/wire_names.json`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from temporalio import activity, workflow

from activities.boundary import ServedCluster
from activities.search_attributes import ALL
from mesh import identity, wellknown
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from tests.json_documents import json_keys
from worker.compose import compose_activities
from workflows.registry import ALL_WORKFLOWS

FILE = Path(__file__).with_name("wire_names.json")
_ROOT = Path(__file__).parents[1]
#: Packages whose code gives workflows a memo.
_WITH_MEMO = ("activities", "workflows", "cli")

Names = dict[str, Any]


def collect() -> Names:
    """Returns all names by kind, as the code has them now."""
    types: dict[str, Any] = {}
    served = ServedCluster(cast("Any", object()), ClusterRef("prod", "uid"))
    activities = {
        activity._Definition.must_from_callable(method).name or "": _signature(method, types)
        for method in compose_activities(served, cast("Any", object()))
    }
    return {
        "activities": dict(sorted(activities.items())),
        "workflows": {_definition(one).name or "": _workflow(one, types) for one in ALL_WORKFLOWS},
        "types": dict(sorted(types.items())),
        "search_attributes": {key.name: key.indexed_value_type.name.lower() for key in ALL},
        "memo": sorted(set(_memo_keys())),
        "identifiers": _identifiers(),
        "cluster": _cluster_names(),
        "json": json_keys(),
    }


def text(names: Names) -> str:
    """Returns the names as the committed file has them."""
    return json.dumps(names, indent=2) + "\n"


def _definition(workflow_class: type) -> workflow._Definition:
    return workflow._Definition.must_from_class(workflow_class)


def _workflow(workflow_class: type, types: dict[str, Any]) -> Names:
    definition = _definition(workflow_class)
    handlers = {"signals": definition.signals, "updates": definition.updates, "queries": definition.queries}
    return {
        **_signature(definition.run_fn, types),
        **{
            kind: {name: _signature(handler.fn, types) for name, handler in sorted(of_kind.items()) if name}
            for kind, of_kind in cast("Mapping[str, Mapping[str, Any]]", handlers).items()
        },
    }


def _signature(function: Callable[..., Any], types: dict[str, Any]) -> Names:
    hints = get_type_hints(inspect.unwrap(getattr(function, "__func__", function)))
    result = hints.pop("return", NoneType)
    return {"input": [_type(hint, types) for hint in hints.values()], "result": _type(result, types)}


def _type(hint: Any, types: dict[str, Any]) -> str:  # noqa: ANN401  # any annotation
    """Returns a type's name; records the fields of a dataclass and the values of an enumeration."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in (None, NoneType):
        return "null"
    if origin in (Union, UnionType):
        return " | ".join(_type(arg, types) for arg in args)
    if origin is Literal:
        return " | ".join(json.dumps(arg) for arg in args)
    if origin is not None:
        inner = ", ".join("..." if arg is Ellipsis else _type(arg, types) for arg in args)
        return f"{origin.__name__}[{inner}]"
    name = str(hint.__name__)
    if name not in types and dataclasses.is_dataclass(hint):
        types[name] = {}
        hints = get_type_hints(hint)
        types[name] = {field.name: _type(hints[field.name], types) for field in dataclasses.fields(hint)}
    elif issubclass(hint, StrEnum):
        types[name] = [str(member) for member in hint]
    return name


def _memo_keys() -> Iterator[str]:
    """The keys of every dictionary that code passes as a memo."""
    for package in _WITH_MEMO:
        for path in sorted((_ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call):
                    yield from (_constant(key, module) for key in _memo_nodes(call))


def _memo_nodes(call: ast.Call) -> Iterator[ast.expr]:
    values = [keyword.value for keyword in call.keywords if keyword.arg == "memo"]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "upsert_memo":
        values += call.args
    for value in values:
        if isinstance(value, ast.Dict):
            yield from (key for key in value.keys if key is not None)


def _constant(node: ast.expr, module: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return str(getattr(import_module(module), ast.unparse(node)))


def _identifiers() -> Names:
    """Task queues and workflow ids, by example."""
    return {
        "task_queues": [identity.TASK_QUEUE, ClusterRef("prod", "uid").activity_queue],
        "workflow_ids": [
            identity.upgrade_id("prod"),
            identity.wave_id("prod", 3),
            identity.item_id("prod", WorkloadRef("shop", "Deployment", "cart")),
            identity.watch_id("prod"),
        ],
    }


def _cluster_names() -> Names:
    """Labels, annotations, namespaces, containers and field managers."""
    constants = {name: value for name, value in vars(wellknown).items() if name.isupper()}
    return {name: value if isinstance(value, str) else sorted(value) for name, value in sorted(constants.items())}


if __name__ == "__main__":
    FILE.write_text(text(collect()), encoding="utf-8")
