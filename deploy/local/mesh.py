"""One local mesh: its directory, its state, and the processes that live and die with it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from deploy.local import processes
from deploy.local.errors import LocalMeshError
from deploy.local.places import hold, meshes_root
from deploy.local.processes import MARK, Started

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_STATE_FILE = "mesh.json"
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class ControlPlane:
    """One installed Istio: `address` is host:port of its injector, `tag` the image tag it was installed with."""

    tag: str
    address: str


@dataclass(frozen=True)
class State:
    """What is written down about a mesh. `ready` is false from the first moment until a Pod was really injected."""

    service_range: str
    ready: bool = False
    api_server: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    istio: dict[str, ControlPlane] = field(default_factory=dict)
    exported: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mesh:
    """A mesh by its name; all of it lies in `directory`."""

    name: str

    @classmethod
    def named(cls, name: str) -> Mesh:
        """The mesh of this name, whether it is there or not.

        Raises:
            LocalMeshError: the name cannot be a context's, a folder's and a host's at once.
        """
        if not _NAME.fullmatch(name):
            raise LocalMeshError(
                f"{name!r} cannot be the name of a mesh.",
                "Use at most 32 lower-case letters, digits and inner hyphens, e.g. demo or canary-2.",
            )
        return cls(name)

    @classmethod
    def find(cls, name: str) -> Mesh | None:
        """The mesh of this name if there is one, in whatever state."""
        mesh = cls.named(name)
        return mesh if (mesh.directory / _STATE_FILE).exists() else None

    @classmethod
    def load(cls, name: str) -> Mesh:
        """The mesh of this name, or a sentence how to make one."""
        mesh = cls.find(name)
        if mesh is None:
            raise LocalMeshError(
                f"There is no local mesh called {name}.",
                f"Start it: python -m deploy.local up --name {name} --istio 1.29.3",
            )
        return mesh

    @property
    def directory(self) -> Path:
        """Everything of this mesh: data, logs, pid files, state."""
        return meshes_root() / self.name

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the cluster's administrator; its context is called as the mesh."""
        return self.directory / "kubeconfig"

    @property
    def context(self) -> str:
        """Name of the context in the kubeconfig."""
        return self.name

    @property
    def state(self) -> State:
        """The state of the mesh, read from its file each time: several commands may work on one mesh.

        Raises:
            LocalMeshError: it is missing, or another version of this program wrote it.
        """
        try:
            raw = json.loads((self.directory / _STATE_FILE).read_text())
            planes = {revision: ControlPlane(**plane) for revision, plane in raw["istio"].items()}
            return State(**raw | {"istio": planes})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LocalMeshError(
                f"The state of the mesh {self.name} cannot be read: {error}.",
                f"Take it down: python -m deploy.local down --name {self.name}",
            ) from error

    def change_state(self, **changes: Any) -> None:  # noqa: ANN401  # the fields of State
        """Changes some fields of the state, safe against another process doing so at the same time."""
        with hold(f"mesh-{self.name}-state"):
            self.write_state(replace(self.state, **changes))

    def write_state(self, state: State) -> None:
        """Writes the state whole or not at all."""
        self.directory.mkdir(parents=True, exist_ok=True)
        draft = self.directory / f"{_STATE_FILE}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(state), indent=1))
        draft.replace(self.directory / _STATE_FILE)

    @property
    def environment(self) -> dict[str, str]:
        """Environment for programs of this mesh: they find its cluster, and write nothing into the home directory."""
        home = self.directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        return dict(os.environ) | {
            MARK: str(self.directory),
            "HOME": str(home),
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(home / "kubectl"),
        }

    def log(self, name: str) -> Path:
        """The log file of a process of this mesh."""
        return self.directory / "logs" / f"{name}.log"

    def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Started:
        """Starts a process that outlives the caller and ends with the mesh, e.g. a stand-in, a server, a worker.

        Args:
            name: names its log (`logs/NAME.log`) and its pid file; a living process of that name is ended first.
            argv: the program and its arguments.
            env: its whole environment; the caller's own when None.
        """
        return self._spawn("guests", name, argv, dict(os.environ if env is None else env))

    def spawn_system(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> Started:
        """Starts a part of the mesh itself; when the mesh goes down it is killed, not asked."""
        return self._spawn("system", name, argv, env)

    def record_system(self, name: str, process: Started) -> None:
        """Writes down a process that another program started for this mesh."""
        processes.record(self._pid_file("system", name), process)

    def kill(self, name: str, *, grace: float = _GRACE_SECONDS) -> bool:
        """Ends a process of this mesh; false when none of that name was alive. `grace=0` is kill -9."""
        alive = False
        for kind in ("guests", "system"):
            file = self._pid_file(kind, name)
            process = processes.recorded(file)
            if process:
                alive |= process.alive
                processes.stop([process], grace=grace)
            file.unlink(missing_ok=True)
        return alive

    def processes(self, kind: str = "*") -> dict[str, Started]:
        """The processes written down, living or not, by name; `kind` is `guests`, `system` or both."""
        found = {file.stem: processes.recorded(file) for file in sorted(self.directory.glob(f"run/{kind}/*.json"))}
        return {name: process for name, process in found.items() if process}

    @property
    def whole(self) -> bool:
        """Whether the mesh came up once and all its own processes still live."""
        try:
            ready = self.state.ready
        except LocalMeshError:
            return False
        return ready and all(process.alive for process in self.processes("system").values())

    def _spawn(self, kind: str, name: str, argv: Sequence[str], env: Mapping[str, str]) -> Started:
        self.kill(name)
        marked = dict(env) | {MARK: str(self.directory)}
        process = processes.spawn(argv, env=marked, cwd=self.directory / "work" / name, log=self.log(name))
        processes.record(self._pid_file(kind, name), process)
        return process

    def _pid_file(self, kind: str, name: str) -> Path:
        return self.directory / "run" / kind / f"{name}.json"
