"""A worker that is killed with -9 in the middle of the restarts: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from deploy.local.demo.check import check_upgrade
from deploy.local.demo.stage import POLICY, TO_CHANNEL, observe
from deploy.local.kubectl import read
from deploy.local.service import Service
from tests.e2e.command import run

pytestmark = pytest.mark.mesh

_MARK = "kubectl.kubernetes.io/restartedAt"


def test_killed_worker_goes_on_and_restarts_nothing_twice(shop: Service) -> None:
    before = observe(shop.mesh)
    with subprocess.Popen(
        [run.program, "start", "--to", TO_CHANNEL, "--policy", str(POLICY), "--wait", "-o", "json"],
        env=shop.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as upgrade:
        _when_restarts_have_begun(shop)
        shop.kill_worker()
        restarted_by_then = _marked(shop)
        time.sleep(3)
        shop.start_worker()
        stdout, stderr = upgrade.communicate(timeout=240)

    broken = [promise for promise in check_upgrade(shop, before) if not promise.kept]

    assert upgrade.returncode == 3, stderr
    assert json.loads(stdout)["result"] == "done-with-items"
    assert broken == []
    # The kill was in the middle: some workloads had their mark, others had not.
    assert 0 < restarted_by_then < sum(1 for name in before if name.startswith("shop/"))


def _when_restarts_have_begun(shop: Service) -> None:
    end = time.monotonic() + 120
    while not _marked(shop):
        assert time.monotonic() < end, "no restart began"
        time.sleep(0.1)


def _marked(shop: Service) -> int:
    kinds = "deployments,statefulsets,daemonsets"
    found = read(shop.mesh, kinds, "-n", "shop")["items"]
    return sum(1 for one in found if _MARK in one["spec"]["template"]["metadata"].get("annotations", {}))
