"""The distributed system behind the handles of `embedded_process`: one thing to start, kill and talk to."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2

from tests.support.distributed.cluster import Cluster
from tests.support.distributed.site import Servers, Site
from tests.support.distributed.spawning import Spawn, spawn
from tests.support.embedded_process import Premises
from tests.support.waiting import wait_until


class ClusterProcess:
    """All processes of a cluster as if they were one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.url = cluster.api_url

    @property
    def lines(self) -> list[str]:
        return [line for process in self._cluster.processes for line in process.lines]

    @property
    def told(self) -> str:
        return self._cluster.told

    def client(self, **headers: str) -> httpx2.AsyncClient:
        client = self._cluster.client()
        client.headers.update(headers)
        return client

    def kill(self) -> None:
        self._cluster.close()

    def send(self, number: signal.Signals) -> None:
        for process in self._cluster.processes:
            process.send(number)

    async def exit_code(self, *, within: float = 40.0) -> int:
        """The worst of all."""
        return max([abs(await process.exit_code(within=within)) for process in self._cluster.processes])


@dataclass(eq=False)
class DistributedPremises(Premises):
    """Folders, servers and how processes are started; they outlive every process."""

    servers: Servers = field(kw_only=True)
    spawn: Spawn = field(default=spawn, kw_only=True)

    @contextlib.asynccontextmanager
    async def running(self, **environment: str) -> AsyncIterator[ClusterProcess]:  # type: ignore[override]
        """A cluster that is up; killed at the end if it still runs."""
        site = Site(root=self.root, servers=self.servers, environment={**self.environment, **environment})
        cluster = Cluster(site, spawn=self.spawn)
        try:
            await cluster.start()
            process = ClusterProcess(cluster)
            await self._in_force(process, site.environment.get("CALLBOARD_API_TOKEN"))
            yield process
        finally:
            cluster.close()

    async def _in_force(self, process: ClusterProcess, token: str | None) -> None:
        """A process that starts reads its files before it answers; here another process reads them."""
        names = {path.stem for path in self.agents.glob("*.yaml")}
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with process.client(**headers) as client:

            async def listed() -> bool:
                answer = await client.get("/api/v1/agents")
                return answer.is_success and names <= {agent["name"] for agent in answer.json()["agents"]}

            await wait_until(listed, f"the API knows {', '.join(sorted(names))}", within=30.0)
