"""`python -m deploy.local.demo up|down`: what `make demo` and `make demo-down` do."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from deploy.local import lifecycle
from deploy.local.demo.check import Promise, check_upgrade
from deploy.local.demo.stage import POLICY, TO_CHANNEL, observe, open_shop, raise_stage, wait_for
from deploy.local.errors import LocalMeshError
from deploy.local.kubectl import kubectl
from deploy.local.progress import say
from deploy.local.service import Service

NAME = "demo"
PROFILE = Path(".kyma-upgrade.toml")
_DONE_WITH_ITEMS = 3


def main() -> int:
    """Returns 0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__)
    parser.add_argument("what", choices=("up", "down"))
    try:
        return _up() if parser.parse_args().what == "up" else _down()
    except LocalMeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _up() -> int:
    began = time.monotonic()
    if lifecycle.down(NAME):
        say("removed an earlier demo")
    service = raise_stage(NAME)
    say("opening the shop")
    open_shop(service.mesh)
    service.start_worker()
    _write_profile(service)
    before = observe(service.mesh)
    say(f"upgrading to channel {TO_CHANNEL}: kyma-upgrade start --to {TO_CHANNEL} --wait")
    code = _run(service, "start", "--to", TO_CHANNEL, "--policy", str(POLICY), "--wait", "-o", "table")
    promises = [Promise("the upgrade ended with exit code 3: done, items are open", code == _DONE_WITH_ITEMS)]
    promises += check_upgrade(service, before)
    promises.append(_fix_one(service))
    _print_summary(service, promises, time.monotonic() - began)
    return 0 if all(promise.kept for promise in promises) else 1


def _down() -> int:
    there = lifecycle.down(NAME)
    PROFILE.unlink(missing_ok=True)
    say("removed the demo" if there else "there is no demo")
    return 0


def _write_profile(service: Service) -> None:
    """`kyma-upgrade` run in this checkout reaches the demo without flags; flags and environment win over it."""
    values = {
        "cluster": service.mesh.name,
        "context": service.mesh.context,
        "kubeconfig": str(service.mesh.kubeconfig),
        "address": service.temporal.address,
        "ui": service.temporal.ui,
    }
    text = "".join(f'{key} = "{value}"\n' for key, value in values.items())
    PROFILE.write_text("# Written by `make demo`, removed by `make demo-down`.\n" + text)


def _run(service: Service, *arguments: str) -> int:
    command = [str(Path(sys.executable).with_name("kyma-upgrade")), *arguments]
    return subprocess.run(command, env=service.environment, check=False).returncode


def _fix_one(service: Service) -> Promise:
    """Lets an unschedulable workload run on any node, and waits until its item closes by itself."""
    mesh = service.mesh
    warning = r"{.items[*].metadata.annotations.istio\.reconciler\.kyma-project\.io/proxy-reset-warning}"
    say("fixing one item: Deployment odd/vision needs a GPU node that does not exist")
    patch = '[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]'
    kubectl(mesh, "-n", "odd", "patch", "deployment", "vision", "--type=json", "-p", patch)

    def settled() -> bool:
        pods = kubectl(mesh, "-n", "odd", "get", "pods", "-l", "app=vision", "-o", f"jsonpath={warning}")
        command = [str(Path(sys.executable).with_name("kyma-upgrade")), "queue", "list", "-o", "json"]
        listed = subprocess.run(command, env=service.environment, check=False, capture_output=True, text=True)
        return listed.returncode == 0 and '"vision"' not in listed.stdout and not pods.strip()

    try:
        wait_for("the item of odd/vision to close by itself", settled, seconds=60)
    except LocalMeshError:
        return Promise("the item of the fixed workload closed by itself", kept=False)
    return Promise("the item of the fixed workload closed by itself", kept=True)


def _print_summary(service: Service, promises: list[Promise], seconds: float) -> None:
    print("\nChecks:")
    for promise in promises:
        print(f"  {'ok  ' if promise.kept else 'FAIL'} {promise.what}")
        for line in promise.evidence:
            print(f"         {line}")
    print(f"""
Where to look:
  Temporal UI       {service.temporal.ui}/namespaces/default/workflows/upgrade%3A{NAME}
  the queue         .venv/bin/kyma-upgrade queue list
  every workload    .venv/bin/kyma-upgrade scan
  workflows         .venv/bin/temporal workflow list --address {service.temporal.address}
  the cluster       .venv/bin/kubectl --kubeconfig {service.mesh.kubeconfig} get pods -A
  pasted commands   export KUBECONFIG={service.mesh.kubeconfig} PATH=$PWD/.venv/bin:$PATH
To remove it: make demo-down             (took {seconds:.0f} s)""")


if __name__ == "__main__":
    sys.exit(main())
