"""`python -m deploy.local kyma --name N`: sets up Kyma's module management on a mesh and starts the stand-in.

Done when the Istio module that fits the mesh's Istio is Ready on channel `regular`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from deploy.local.errors import LocalMeshError
from deploy.local.kyma import objects
from deploy.local.kyma.api import Api, ApiError, Object, path_of
from deploy.local.kyma.objects import NAMESPACE, Naming
from deploy.local.kyma.versions import default_channels, istio_of, module_of, parse
from deploy.local.mesh import Mesh
from deploy.local.processes import Started
from deploy.local.progress import say

_READY_SECONDS = 180.0
_REPOSITORY = Path(__file__).parents[3]

PACE = {
    "stale-state": (2.0, "how long the new version is shown beside the state of the old one"),
    "processing": (1.0, "from the change of the manager's Deployment to the first look at it"),
    "window-in": (10.0, "how long a module that requires downtime waits for its maintenance window"),
    "manager-start": (1.5, "from a Ready manager Pod to its first reconcile"),
    "step": (0.7, "pause between the steps of a reconcile"),
}
"""What can take time in the stand-in: seconds and meaning."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kyma`; `--name` is the dispatcher's."""
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="a channel and the module version it stands for; beside or instead of regular, fast and previous",
    )
    parser.add_argument(
        "--requires-downtime",
        action="append",
        default=[],
        metavar="VERSION",
        help="a module version that is installed only inside a maintenance window",
    )
    add_pace(parser)


def add_pace(parser: argparse.ArgumentParser) -> None:
    """The options that say how long things take."""
    for option, (default, meaning) in PACE.items():
        parser.add_argument(f"--{option}", type=float, default=default, metavar="SECONDS", help=meaning)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="an upgrade shows no Processing in the Istio CR: its old status stands until the new one is known",
    )


def run(args: argparse.Namespace) -> int:
    """Set up, start, wait for Ready, print one JSON document."""
    mesh = Mesh.load(args.name)
    api = Api(mesh.kubeconfig)
    naming, istio = installed_istio(api)
    try:
        channels = _channels(istio, args.channel)
    except ValueError as error:
        raise LocalMeshError(f"{error}.", "Start the mesh with an Istio version of the table.") from error
    say(f"Istio {istio} is module {channels['regular']}; channels {_listed(channels)}")
    _set_up(api, naming, channels, args.requires_downtime)
    pace = [f"--{option}={getattr(args, option.replace('-', '_'))}" for option in PACE]
    if args.quiet:
        pace.append("--quiet")
    process = mesh.spawn(
        "kyma",
        [sys.executable, "-m", "deploy.local.kyma.process", "--name", mesh.name, *pace],
        dict(os.environ) | {"PYTHONPATH": str(_REPOSITORY), "TMPDIR": str(mesh.directory / "work")},
    )
    _wait_until_ready(api, mesh, process)
    print(json.dumps({"module": channels["regular"], "istio": istio, "channels": channels, "pid": process.pid}))
    return os.EX_OK


def installed_istio(api: Api) -> tuple[Naming, str]:
    """Where the mesh's images come from, and the Istio version of its default revision, read from istiod."""
    istiod = api.find(path_of("Deployment", "istio-system", "istiod"))
    if istiod is None:
        raise LocalMeshError(
            "The mesh has no istiod of revision default.", "Install one: python -m deploy.local istio --tag 1.29.3"
        )
    image: str = istiod["spec"]["template"]["spec"]["containers"][0]["image"]
    repository, _, tag = image.rpartition(":")
    version = ".".join(map(str, parse(tag)))
    return Naming(repository.rpartition("/")[0], tag.removeprefix(version)), version


def _channels(istio: str, chosen: list[str]) -> dict[str, str]:
    asked = dict(entry.split("=", 1) for entry in chosen)
    channels = default_channels(asked.get("regular") or module_of(istio)) | asked
    carried = {version: istio_of(version) for version in channels.values()}
    if carried[channels["regular"]] != istio:
        regular = channels["regular"]
        raise ValueError(f"channel regular is module {regular} with Istio {carried[regular]}, the mesh has {istio}")
    return channels


def _set_up(api: Api, naming: Naming, channels: dict[str, str], downtime: list[str]) -> None:
    """What Kyma's own cluster syncs into a customer's; the Kyma CR comes last, it starts everything."""
    for definition in objects.custom_resource_definitions():
        api.apply(definition)
    api.apply(objects.namespace())
    for version in sorted(set(channels.values()), key=parse):
        template = objects.module_template(version, naming.images(version), requires_downtime=version in downtime)
        _apply_when_served(api, template)
    _apply_when_served(api, objects.module_release_meta(channels))
    _apply_when_served(api, objects.kyma())


def _apply_when_served(api: Api, manifest: Object) -> None:
    """A new definition is served a moment after it was made."""
    for attempt in range(100):
        try:
            api.apply(manifest)
        except ApiError as error:
            if error.status != 404 or attempt == 99:
                raise
            time.sleep(0.1)
        else:
            return


def _listed(channels: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in channels.items())


def _state_text(status: Object) -> str:
    """The state of a custom resource for people, with its description."""
    if not status.get("state"):
        return "has no state yet"
    description = status.get("description")
    return f"is {status['state']}: {description}" if description else f"is {status['state']}"


def _wait_until_ready(api: Api, mesh: Mesh, stand_in: Started) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    state = ""
    while stand_in.alive and time.monotonic() < deadline:
        kyma = api.get(path_of("Kyma", NAMESPACE, "default")).get("status", {})
        istio = api.find(path_of("Istio", NAMESPACE, "default"))
        resource = (istio or {}).get("status", {})
        shown = "does not exist yet" if istio is None else _state_text(resource)
        now = f"Kyma {_state_text(kyma)}, Istio CR {shown}"
        if now != state:
            say(now)
            state = now
        # Left-over Pods are a Warning from the start when the mesh already runs some of another version.
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in resource.get("conditions", []))
        if kyma.get("state") == "Ready" and (ready or resource.get("state") == "Warning"):
            return
        time.sleep(0.3)
    raise LocalMeshError(f"The Istio module did not become ready: {state}.", f"See {mesh.log('kyma')}.")
