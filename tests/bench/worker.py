"""A worker that counts: `python -m tests.bench.worker FILE` writes how many requests it sent to the API server.

Everything else of it is the product's own, settings from the environment included.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from activities.kube.client import ClusterClient
from worker.main import run_worker
from worker.settings import load_settings

_EVERY_SECONDS = 0.5


async def _main(file: Path) -> None:
    sent: Counter[str] = Counter()
    send = ClusterClient._send

    async def counted(self: ClusterClient, method: str, path: str, *rest: Any) -> Any:  # noqa: ANN401  # whatever it is
        sent[method] += 1
        return await send(self, method, path, *rest)

    ClusterClient._send = counted  # type: ignore[method-assign,assignment]

    async def tell() -> None:
        while True:
            file.write_text(str(sent.total()))
            await asyncio.sleep(_EVERY_SECONDS)

    telling = asyncio.create_task(tell())
    await run_worker(load_settings())
    telling.cancel()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
