"""One reading of a cluster that changes while it is read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from activities.kube.client import connect
from activities.kube.snapshot import read_snapshot
from mesh.k8s.owners import top_owner
from tests.activities.api_server import Answer, Query, kubeconfig, server


def _object(name: str, owner: tuple[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"}
    if owner is not None:
        reference = {"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "uid": owner[1], "controller": True}
        metadata["ownerReferences"] = [reference]
    return {"metadata": metadata}


def _stream(*objects: dict[str, Any]) -> bytes:
    end = {"metadata": {"resourceVersion": "42", "annotations": {"k8s.io/initial-events-end": "true"}}}
    lines = [*({"type": "ADDED", "object": one} for one in objects), {"type": "BOOKMARK", "object": end}]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class _Moving:
    """A cluster in which a Deployment and all below it are made after its owners were asked for the first time."""

    def __init__(self, *, gone: bool = False) -> None:
        self.asked: Counter[str] = Counter()
        self._gone = gone

    def __call__(self, path: str, query: Query) -> Answer:
        kind = path.rpartition("/")[2]
        self.asked[kind] += 1
        if "watch" not in query:
            return Answer(b'{"metadata":{"resourceVersion":"1"},"items":[]}')
        later = self.asked[kind] > 1 and not self._gone
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


async def test_owners_made_while_pods_are_read_are_found(tmp_path: Path) -> None:
    moving = _Moving()
    async with server(moving) as port:
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{port}")))
        async with await connect(str(file)) as cluster:
            world = await read_snapshot(cluster)

    owners = {pod.metadata.name: top_owner(pod, world.owners) for pod in world.pods}
    # What is above a ReplicaSet that was not there yet is only known once it is.
    assert (owners["p"].kind, owners["p"].name, owners["p"].gone) == ("Deployment", "d", False)
    assert (owners["q"].kind, owners["q"].gone) == ("StatefulSet", False)
    assert moving.asked["pods"] == moving.asked["statefulsets"] == 1


async def test_owners_that_are_gone_are_looked_for_once(tmp_path: Path) -> None:
    moving = _Moving(gone=True)
    async with server(moving) as port:
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{port}")))
        async with await connect(str(file)) as cluster:
            world = await read_snapshot(cluster)

    [pod] = [one for one in world.pods if one.metadata.name == "p"]
    assert top_owner(pod, world.owners).gone
    assert moving.asked["replicasets"] == 2
    assert moving.asked["deployments"] == 1
