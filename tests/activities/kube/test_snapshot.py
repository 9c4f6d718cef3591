"""A snapshot of a cluster that changes while it is read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from activities.kube.snapshot import read_snapshot
from mesh.k8s.owners import top_owner
from tests.activities.api_server import Answer, Query, api_server_of_paths


def _object(name: str, owner: tuple[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"}
    if owner is not None:
        reference = {"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "uid": owner[1], "controller": True}
        metadata["ownerReferences"] = [reference]
    return {"metadata": metadata}


def _stream(*objects: dict[str, Any]) -> bytes:
    end = {"metadata": {"resourceVersion": "42", "annotations": {"k8s.io/initial-events-end": "true"}}}
    lines = [*({"type": "ADDED", "object": item} for item in objects), {"type": "BOOKMARK", "object": end}]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class _ChangingCluster:
    """A cluster in which a Deployment and its ReplicaSet are created after owners were listed for the first time."""

    def __init__(self, *, deleted: bool = False) -> None:
        self.requests: Counter[str] = Counter()
        self._deleted = deleted

    def __call__(self, path: str, query: Query) -> Answer:
        kind = path.rpartition("/")[2]
        self.requests[kind] += 1
        if "watch" not in query:
            return Answer(b'{"metadata":{"resourceVersion":"1"},"items":[]}')
        later = self.requests[kind] > 1 and not self._deleted
        match kind:
            case "pods":
                return Answer(_stream(_object("p", ("ReplicaSet", "r")), _object("q", ("StatefulSet", "s"))))
            case "statefulsets":
                return Answer(_stream(_object("s")))
            case "replicasets" if later:
                return Answer(_stream(_object("r", ("Deployment", "d"))))
            case "deployments" if later:
                return Answer(_stream(_object("d")))
            case _:
                return Answer(_stream())


async def test_owners_created_while_pods_are_read_are_found(tmp_path: Path) -> None:
    changing = _ChangingCluster()
    async with api_server_of_paths(changing, tmp_path) as cluster:
        snapshot = await read_snapshot(cluster)

    owners = {pod.metadata.name: top_owner(pod, snapshot.owners) for pod in snapshot.pods}
    # The owner of a ReplicaSet that did not exist yet is only known once it does.
    assert (owners["p"].kind, owners["p"].name, owners["p"].gone) == ("Deployment", "d", False)
    assert (owners["q"].kind, owners["q"].gone) == ("StatefulSet", False)
    assert changing.requests["pods"] == changing.requests["statefulsets"] == 1


async def test_missing_owners_are_searched_once_more(tmp_path: Path) -> None:
    changing = _ChangingCluster(deleted=True)
    async with api_server_of_paths(changing, tmp_path) as cluster:
        snapshot = await read_snapshot(cluster)

    [pod] = [item for item in snapshot.pods if item.metadata.name == "p"]
    assert top_owner(pod, snapshot.owners).gone
    assert changing.requests["replicasets"] == 2
    assert changing.requests["deployments"] == 1
