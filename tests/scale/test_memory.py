"""A survey keeps little of each Pod, whatever it reads."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.scale.synthetic_cluster import LONGEST_NAME, Size, SyntheticCluster, served

_SIZE = Size(100, 5000, 10, stale=200, standalone=2000, names=LONGEST_NAME)
#: Interpreter and libraries are 61 of these. With short names it was 108 in all, with these 132.
_MOST_MEGABYTES = 200


@pytest.mark.scale
async def test_survey_of_fifty_thousand_pods_fits_into_a_small_process(tmp_path: Path) -> None:
    async with served(SyntheticCluster(_SIZE), tmp_path) as kubeconfig:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.scale.survey", str(kubeconfig), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
    found = json.loads(output)

    print(f"\n{found}")  # noqa: T201
    assert found["pods"] == 52_000
    assert found["workloads"] == 7_000
    assert found["megabytes"] <= _MOST_MEGABYTES
