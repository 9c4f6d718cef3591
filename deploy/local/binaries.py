"""Builds the programs of the local mesh from pinned Go modules, once per machine, into the cache.

Each row below is one Go module under `build/` with a committed go.sum; the rows are separate because their
dependencies disagree. A row is built into a draft folder and renamed when whole, so a build killed half-way is
never used; a lock lets a second process wait for the first instead of building the same. Custom resources come from
the same modules as the programs, so that they always fit them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import checks, toolchain
from deploy.local.errors import LocalMeshError
from deploy.local.places import cache_root, hold
from deploy.local.progress import heartbeat, say

KUBERNETES_VERSION = "v1.37.2"
KWOK_VERSION = "v0.8.0"
ISTIO_VERSION = "1.31.0"
ISTIO_HUB = "europe-docker.pkg.dev/kyma-project/prod/external/istio"
ROLLOUTS_VERSION = "v1.10.1"
GATEWAY_API_VERSION = "v1.6.0"

_KUBERNETES_MAJOR, _KUBERNETES_MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
_SOURCES = Path(__file__).with_name("build")


@dataclass(frozen=True)
class Row:
    """One Go module to build: `programs` maps the name in the cache to the package, `stamps` are linker variables.

    `files` maps a module to the pattern of those of its files that are kept beside the programs. `pinned_by` names
    another folder whose go.mod counts.
    """

    name: str
    version: str
    programs: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    pinned_by: str = ""

    @property
    def source(self) -> Path:
        """The folder with go.mod, go.sum and tools.go."""
        return _SOURCES / (self.pinned_by or self.name)

    @property
    def linker_flags(self) -> str:
        """No symbol tables (half the size), and the versions that a release build would have."""
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.stamps.items())])

    @property
    def key(self) -> str:
        """Names the folder in the cache: another version, dependency, flag or machine type is another folder."""
        digest = hashlib.sha256()
        for file in ("go.mod", "go.sum", "tools.go"):
            digest.update((self.source / file).read_bytes())
        digest.update(f"{self.linker_flags} {sorted(self.programs.items())} {platform.machine()}".encode())
        if self.files:
            digest.update(f"{sorted(self.files.items())}".encode())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


ROWS = (
    Row(
        name="kubernetes",
        version=KUBERNETES_VERSION,
        programs={
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        },
        stamps={
            # Without these kubectl cannot parse the version of the server.
            "k8s.io/component-base/version.gitVersion": KUBERNETES_VERSION,
            "k8s.io/component-base/version.gitMajor": _KUBERNETES_MAJOR,
            "k8s.io/component-base/version.gitMinor": _KUBERNETES_MINOR,
            "k8s.io/component-base/version.gitTreeState": "clean",
        },
    ),
    Row(
        name="kwok",
        version=KWOK_VERSION,
        programs={"kwok": "sigs.k8s.io/kwok/cmd/kwok", "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl"},
        stamps={"sigs.k8s.io/kwok/pkg/consts.Version": KWOK_VERSION},
    ),
    Row(
        name="istio",
        version=ISTIO_VERSION,
        programs={
            "pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery",
            "istioctl": "istio.io/istio/istioctl/cmd/istioctl",
        },
        stamps={
            "istio.io/istio/pkg/version.buildVersion": ISTIO_VERSION,
            "istio.io/istio/pkg/version.buildTag": ISTIO_VERSION,
            "istio.io/istio/pkg/version.buildHub": ISTIO_HUB,
            "istio.io/istio/pkg/version.buildStatus": "Clean",
        },
    ),
)
"""What every mesh is made of."""

ROLLOUTS = Row(
    name="argo-rollouts",
    version=ROLLOUTS_VERSION,
    programs={"rollouts-controller": "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"},
    stamps={"github.com/argoproj/argo-rollouts/utils/version.version": ROLLOUTS_VERSION},
    files={"github.com/argoproj/argo-rollouts": "manifests/crds/*-crd.yaml"},
)
"""Built when a mesh gets it."""

GATEWAY_API = Row(
    name="gateway-api",
    version=GATEWAY_API_VERSION,
    files={"sigs.k8s.io/gateway-api": "config/crd/standard/*.yaml"},
    # The version that istiod was written for.
    pinned_by="istio",
)
"""Fetched when a mesh gets it."""


@dataclass(frozen=True)
class Binaries:
    """The built programs, by name, and the files that came with them."""

    paths: dict[str, Path]
    files: tuple[Path, ...] = ()

    def __getitem__(self, program: str) -> Path:
        """The path of one program, e.g. `kube-apiserver`."""
        return self.paths[program]


def ensure(rows: Sequence[Row] = ROWS) -> Binaries:
    """Builds what of these rows is missing; takes no time when everything is there.

    Raises:
        LocalMeshError: the machine lacks something, or the compiler says no.
    """
    if _missing(rows):
        with hold("build", "another process builds the programs"):
            _build(_missing(rows))
    return Binaries(
        {program: cache_root() / row.key / program for row in rows for program in row.programs},
        tuple(file for row in rows if row.files for file in sorted((cache_root() / row.key).glob("*.yaml"))),
    )


def _missing(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not (cache_root() / row.key).is_dir()]


def _build(rows: list[Row]) -> None:
    if not rows:
        return
    go = toolchain.find(toolchain.needed([row.source / "go.mod" for row in rows]))
    if any(row.programs for row in rows):
        checks.room_for_build(cache_root())
    env = toolchain.environment(go)
    # Under the lock a draft that lies here is what a killed build left.
    for left in cache_root().glob(".building-*"):
        shutil.rmtree(left, ignore_errors=True)
    for row in rows:
        # A name of our own: the compiler of a killed build may still be at work on its draft.
        draft = cache_root() / f".building-{row.name}-{os.getpid()}"
        draft.mkdir(parents=True)
        if row.programs:
            _compile(row, draft, go, env)
        for module, pattern in row.files.items():
            _copy(row, module, pattern, draft, go, env)
        draft.replace(cache_root() / row.key)
    toolchain.clean()


def _compile(row: Row, draft: Path, go: Path, env: dict[str, str]) -> None:
    say(f"building {row.name} {row.version}: {', '.join(row.programs)} (minutes, only the first time on a machine)")
    packages = 0
    said: deque[str] = deque(maxlen=20)
    command = [str(go), "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags={row.linker_flags}"]
    with (
        heartbeat(
            lambda: f"still building {row.name}: {packages} packages compiled; {said[-1] if said else 'waiting'}"
        ),
        subprocess.Popen(
            [*command, "-o", f"{draft}/", *row.programs.values()],
            cwd=row.source,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        ) as build,
    ):
        for line in build.stderr or ():
            said.append(line.strip())
            packages += not line.startswith("go: ")
    if build.returncode:
        problem = f"`go build` of {row.name} failed: {' / '.join(list(said)[-5:])}."
        packages_to_build = " ".join(row.programs.values())
        by_hand = f"cd {row.source} && go build -o /tmp/ {packages_to_build}"
        raise LocalMeshError(problem, f"Try again; to see all that it says, run it by hand: {by_hand}")
    for program, package in row.programs.items():
        _go_output(draft, package).rename(draft / program)
    say(f"built {row.name} {row.version}")


def _copy(row: Row, module: str, pattern: str, draft: Path, go: Path, env: dict[str, str]) -> None:
    """Keeps files of a module: its version is the one in go.mod, and go.sum vouches for every byte."""
    say(f"fetching {pattern} of {module}")
    command = [str(go), "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=row.source, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = json.loads(done.stdout)["Error"] if done.stdout else done.stderr.strip()
        raise LocalMeshError(f"{module} could not be fetched: {said}.", "Try again.")
    found = sorted(Path(json.loads(done.stdout)["Dir"]).glob(pattern))
    if not found:
        raise LocalMeshError(f"{module} has no {pattern}.", f"See what {row.source / 'go.mod'} pins.")
    for file in found:
        shutil.copyfile(file, draft / file.name)


def _go_output(draft: Path, package: str) -> Path:
    """Where `go build` puts a command: the last part of its package, not counting a major version (`…/server/v3`)."""
    parts = package.split("/")
    return draft / (parts[-2] if parts[-1].startswith("v") and parts[-1][1:].isdigit() else parts[-1])
