"""A whole cluster with everything around it that a trial needs: servers to kill, a Slack, a tool server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_simulator import SlackSimulator
from tests.support.distributed.cluster import ROLES, Cluster
from tests.support.distributed.private_servers import PrivateServers, private_servers
from tests.support.distributed.site import Site
from tests.support.distributed.spawning import Spawn, spawn
from tests.support.slack_app import SECRET
from tests.support.tool_server import ToolServer, tool_server
from tests.support.waiting import wait_until

ENDED = ("succeeded", "failed", "cancelled", "timed_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything runs when the context of `house` is entered."""

    cluster: Cluster
    private: PrivateServers
    slack: LocalSlack
    tools: ToolServer

    @property
    def site(self) -> Site:
        return self.cluster.site

    async def add_agents(self, **files: str) -> None:
        """Returns when every one of them is known and takes work."""
        self.site.add_agents(**files)

        async def available() -> bool:
            async with self.cluster.client() as client:
                listed = (await client.get("/api/v1/agents")).json()["agents"]
            return set(files) <= {agent["name"] for agent in listed if agent["status"] == "available"}

        await wait_until(available, f"{', '.join(files)} are available", within=30.0)

    def person(self) -> SlackSimulator:
        """Somebody in Slack; an async context manager."""
        return SlackSimulator(self.slack, gateway_url=self.cluster.slack_url, signing_secret=SECRET)

    async def invoke(self, agent: str, text: str, **more: Any) -> str:
        """The id of a task that was accepted."""
        async with self.cluster.client() as client:
            answer = await client.post("/api/v1/agents/invoke", json={"agent": agent, "input": text, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    async def ended(self, task_id: str, *, within: float = 30.0) -> dict[str, Any]:
        """The run's row, once it has ended."""

        async def row() -> dict[str, Any] | None:
            found = await self.run(task_id)
            return found if found["status"] in ENDED else None

        ended: dict[str, Any] | None = await wait_until(row, f"run {task_id} ends", within=within)
        assert ended is not None
        return ended

    async def run(self, task_id: str) -> dict[str, Any]:
        """The run's row; an accepted task that has none yet is queued."""
        rows = await self.site.query("SELECT * FROM runs WHERE run_id = $1", task_id)
        return rows[0] if rows else {"status": "queued"}


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    spawn: Spawn = spawn,
    *,
    roles: Iterable[str] = ROLES,
    scale: Mapping[str, int] | None = None,
    reaches: Iterable[str] = (),
    **environment: str,
) -> AsyncIterator[House]:
    """Healthy when it is entered; everything is ended afterwards. `environment` is every process's; its agents' tools
    reach the tool server and the places of `reaches` (`host:port`).
    """
    async with private_servers(folder / "servers") as private, LocalSlack() as slack, tool_server() as tools:
        around = {
            "SLACK_API_URL": slack.api_url,
            "CALLBOARD_HTTP_ALLOW": ",".join((tools.authority, *reaches)),
            **environment,
        }
        site = Site(root=folder / "site", servers=private.servers, environment=around)
        cluster = Cluster(site, spawn=spawn)
        try:
            await cluster.start(roles, scale=scale)
            await cluster.healthy()
            yield House(cluster=cluster, private=private, slack=slack, tools=tools)
        finally:
            cluster.close()
