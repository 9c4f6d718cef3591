"""The command of the local mesh.

`python -m deploy.local up | istio | kyma | rollouts | gateway-api | status | down | build`
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local import binaries, lifecycle
from deploy.local.errors import LocalMeshError
from deploy.local.gateway_api import install_gateway_api
from deploy.local.istio import install_istio
from deploy.local.mesh import Mesh
from deploy.local.progress import say
from deploy.local.rollouts import start_rollouts

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; data goes to stdout, progress and errors to stderr."""
    words = sys.argv[1:] if argv is None else argv
    arguments = parser(words).parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except LocalMeshError as error:
        print(f"{error.problem}\n{error.remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The command line; the options of `kyma` are those of its package, imported only when `words` begin with it."""
    root = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def named(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = command(name, run, text)
        added.add_argument("--name", required=True, help="name of the mesh")
        return added

    up = named("up", _up, "start a cluster with Istio; prints one JSON document when a new Pod is injected")
    up.add_argument("--istio", required=True, metavar="TAG", help="Istio's image tag, e.g. 1.29.3")
    up.add_argument("--kubeconfig", type=Path, metavar="FILE", help="also add the context to this file")
    up.add_argument("--plain-sidecars", action="store_true", help="kubelets too old for native sidecars")
    up.add_argument("--nodes", type=int, default=3, metavar="N", help="number of nodes (default 3)")

    istio = named("istio", _istio, "install another tag (an upgrade) or a second revision")
    istio.add_argument("--tag", required=True, help="Istio's image tag")
    istio.add_argument("--revision", help="a revision beside the default one")
    istio.add_argument("--set", action="append", default=[], dest="sets", metavar="K=V", help="as istioctl takes it")

    named("rollouts", _rollouts, "start Argo Rollouts; builds it first, if it is not there")
    named("gateway-api", _gateway_api, "install the Gateway API; istiod makes its gateways")

    status = named("status", _status, "how a mesh stands; exit code 1 when it is not up")
    status.add_argument("-o", "--output", choices=["json"], default="json")
    named("down", _down, "take a mesh down; nothing of it is left")
    command("build", _build, "only build the programs, those of `rollouts` too, if they are not there")
    kyma = named("kyma", _kyma, "start the stand-in for Kyma's module management")
    if list(words[:1]) == ["kyma"]:
        _add_kyma(kyma)
    return root


def _up(arguments: argparse.Namespace) -> int:
    mesh = lifecycle.up(
        arguments.name,
        arguments.istio,
        kubeconfig_file=arguments.kubeconfig,
        plain_sidecars=arguments.plain_sidecars,
        node_count=arguments.nodes,
    )
    _print(lifecycle.describe(mesh))
    return 0


def _istio(arguments: argparse.Namespace) -> int:
    mesh = Mesh.load(arguments.name)
    install_istio(mesh, arguments.tag, arguments.revision, arguments.sets)
    _print(lifecycle.status(mesh.name))
    return 0


def _rollouts(arguments: argparse.Namespace) -> int:
    mesh = Mesh.load(arguments.name)
    start_rollouts(mesh)
    _print(lifecycle.status(mesh.name))
    return 0


def _gateway_api(arguments: argparse.Namespace) -> int:
    mesh = Mesh.load(arguments.name)
    install_gateway_api(mesh)
    _print(lifecycle.status(mesh.name))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    status = lifecycle.status(arguments.name)
    _print(status)
    return 0 if status["state"] == "up" else 1


def _down(arguments: argparse.Namespace) -> int:
    gone = lifecycle.down(arguments.name)
    say(f"removed mesh {arguments.name}" if gone else f"there is no mesh {arguments.name}; nothing to do")
    return 0


def _build(_: argparse.Namespace) -> int:
    lifecycle.check_machine()
    everything = (*binaries.ROWS, binaries.ROLLOUTS, binaries.GATEWAY_API)
    for program, path in binaries.ensure(everything).paths.items():
        print(f"{program}\t{path}")
    return 0


def _add_kyma(subparser: argparse.ArgumentParser) -> None:
    from deploy.local.kyma.command import add_arguments  # noqa: PLC0415

    add_arguments(subparser)


def _kyma(arguments: argparse.Namespace) -> int:
    from deploy.local.kyma.command import run  # noqa: PLC0415

    return run(arguments)


def _print(document: object) -> None:
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    sys.exit(main())
