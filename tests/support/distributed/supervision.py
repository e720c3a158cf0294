"""What a real deployment has around its processes: whatever ends is started again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.support.distributed.cluster import Cluster
from tests.support.distributed.role_process import RoleProcess

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One process that was found ended."""

    role: str
    code: int
    at: float


class Supervision:
    """`restart: unless-stopped` for every process of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._replaced: set[RoleProcess] = set()
        self.ended: list[Ended] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for process in tuple(self._cluster.processes):
                if process.ended is not None and process not in self._replaced:
                    self._replaced.add(process)
                    self.ended.append(Ended(role=process.role, code=process.ended, at=time.monotonic()))
                    self._cluster.launch(process.role)
            await asyncio.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def supervised(cluster: Cluster) -> AsyncIterator[Supervision]:
    """Watches over the cluster while the context is entered."""
    supervision = Supervision(cluster)
    watching = asyncio.create_task(supervision.run())
    try:
        yield supervision
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
