"""One survey in a process of its own: `python -m tests.scale.survey KUBECONFIG` prints Pods, seconds and MB at peak."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from activities.kube.client import connect
from activities.survey.run import run_survey
from tests.bench.peak import peak_megabytes


async def main(kubeconfig: str) -> None:
    """The peak is of the whole process."""
    async with await connect(kubeconfig) as cluster:
        began = time.perf_counter()
        survey = await run_survey(cluster)
        seconds = time.perf_counter() - began
    found = {
        "pods": survey.pods,
        "workloads": len(survey.workloads),
        "seconds": seconds,
        "megabytes": peak_megabytes(),
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
