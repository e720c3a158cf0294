"""Backup and restore with the commands of docs/how-to/back-up-and-restore.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.docs.blocks import blocks, differs
from tests.support.distributed.cluster import Cluster, cluster_at
from tests.support.distributed.nursery import Nursery, nursery
from tests.support.distributed.site import Servers, Site
from tests.support.processes import ROOT
from tests.support.servers.fresh_postgres import empty_postgres
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.servers.fresh_vhost import fresh_vhost
from tests.support.servers.session_servers import missing
from tests.support.waiting import wait_until

PAGE = ROOT / "docs" / "how-to" / "back-up-and-restore.md"
ME = "tests/deploy/test_restore.py"
ENDED = ("succeeded", "failed", "cancelled", "timed_out")
AGENT = """
name: {name}
agent_type: helper
execution_mode: {mode}
llm_config: {{provider: scripted, model_id: script, script: [{rule}]}}
"""
AGENTS = {
    "echo": AGENT.format(name="echo", mode="autonomous", rule='{say: "{input}"}'),
    "slow": AGENT.format(name="slow", mode="autonomous", rule='{wait_seconds: 5, say: "{input}"}'),
    "diary": AGENT.format(name="diary", mode="continuous", rule='{wait_seconds: 2, say: "{turn}: {input}"}'),
    "chooser": AGENT.format(
        name="chooser", mode="autonomous", rule='{ask: {question: "Which?", options: [Berlin, Paris]}, say: "{answer}"}'
    ),
    "trip": AGENT.format(name="trip", mode="collaborative", rule="{say: x}")
    + """
collaboration:
  members: [chooser]
  plan: [{id: choose, agent: chooser, input: "${input}"}]
""",
}


class Person:
    """Somebody who follows the page in a shell, step by step."""

    def __init__(self, folder: Path) -> None:
        absent = [name for name in ("pg_dump", "pg_restore", "redis-cli") if shutil.which(name) is None]
        if absent:
            missing(f"needs {', '.join(absent)}: on Debian apt-get install postgresql-client redis-tools")
        found = blocks(PAGE)
        self._steps: Iterator[tuple[str, str | None]] = iter(
            [
                (block.text, after.text if after is not None and after.language == "text" else None)
                for block, after in zip(found, [*found[1:], None], strict=True)
                if block.run_by == ME
            ]
        )
        self._folder = folder

    def next_step(self, servers: Servers) -> str:
        command, shown = next(self._steps)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DATABASE_URL": servers.postgres,
            "REDIS_URL": servers.redis,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert shown is None or differs(shown, done.stdout) is None, done.stdout
        return command

    @property
    def steps_left(self) -> int:
        return len(list(self._steps))


@pytest.fixture(scope="module")
def loaded() -> Iterator[Nursery]:
    with nursery() as running:
        yield running


@asynccontextmanager
async def new_servers() -> AsyncIterator[Servers]:
    async with empty_postgres() as postgres, fresh_vhost() as rabbitmq, fresh_redis() as redis:
        yield Servers(postgres=postgres, rabbitmq=rabbitmq, redis=redis)


@asynccontextmanager
async def running(folder: Path, servers: Servers, loaded: Nursery) -> AsyncIterator[tuple[Cluster, httpx2.AsyncClient]]:
    site = Site(root=folder, servers=servers)
    site.add_agents(**AGENTS)
    async with cluster_at(site, spawn=loaded.spawn) as cluster, cluster.client() as client:

        async def known() -> bool:
            agents = (await client.get("/api/v1/agents")).json()["agents"]
            return len(agents) == len(AGENTS) and all(each["status"] == "available" for each in agents)

        await wait_until(known, "the agents are available")
        yield cluster, client


async def invoke(client: httpx2.AsyncClient, agent: str, text: str) -> str:
    answer = await client.post("/api/v1/agents/invoke", json={"agent": agent, "input": text})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


async def status_of(client: httpx2.AsyncClient, task: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/api/v1/agents/status/{task}")).json()
    return found


async def work_of_every_kind(cluster: Cluster, client: httpx2.AsyncClient) -> dict[str, str]:
    """Tasks by what each has to end with; one is done, and of the others none is."""
    tasks = {await invoke(client, "echo", "done before"): "done before"}
    (done,) = tasks

    async def is_in(task: str, status: str) -> bool:
        return str((await status_of(client, task))["status"]) == status

    await wait_until(lambda: is_in(done, "succeeded"), "one run has ended")
    trip = await invoke(client, "trip", "where to")
    await wait_until(lambda: is_in(trip, "waiting"), "a plan waits for a person")
    entries = {await invoke(client, "diary", text): text for text in ("milk", "bread", "coffee")}
    slow = await invoke(client, "slow", "it takes time")
    await wait_until(lambda: is_in(slow, "running"), "a run is under way")
    first = next(iter(entries))
    await wait_until(lambda: is_in(first, "running"), "a conversation is under way")
    # However long the rest takes on a busy machine, what is under way now is under way in the backup.
    for role in ("state-manager", "autonomous-agent-pool", "continuous-agent-runner", "agent-orchestrator"):
        cluster.one(role).kill()
    unrouted = [await invoke(client, "echo", f"unrouted {number}") for number in range(3)]
    tasks |= {trip: "Paris", slow: "it takes time"}
    tasks |= {task: f"{turn}: {text}" for turn, (task, text) in enumerate(entries.items(), 1)}
    return tasks | {task: f"unrouted {number}" for number, task in enumerate(unrouted)}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(120)
async def test_D7_what_had_not_ended_goes_on_after_a_restore_beside_an_empty_broker_and_cache(
    tmp_path: Path, loaded: Nursery
) -> None:
    person = Person(tmp_path)
    async with new_servers() as servers, running(tmp_path / "before", servers, loaded) as (cluster, client):
        tasks = await work_of_every_kind(cluster, client)
        assert "pg_dump" in person.next_step(servers)

    async with new_servers() as servers:
        assert "pg_restore" in person.next_step(servers)
        assert "redis-cli" in person.next_step(servers)
        site = Site(root=tmp_path / "look", servers=servers)
        kept = {row["run_id"]: row["status"] for row in await site.query("SELECT run_id, status FROM runs")}
        assert {"succeeded", "queued", "running", "waiting"} == set(kept.values())
        assert len(await site.query("SELECT 1 FROM events WHERE routed_at IS NULL")) == 3

        async with running(tmp_path / "after", servers, loaded) as (cluster, client):
            (asked,) = (await client.get("/api/v1/clarifications")).json()["clarifications"]
            await client.post(f"/api/v1/agents/approve/{asked['task_id']}", json={"answer": "Paris"})

            async def all_ended() -> bool:
                statuses = [(await status_of(client, task))["status"] for task in tasks]
                return all(status in ENDED for status in statuses)

            await wait_until(all_ended, "everything ends", within=60.0)
            results = {task: (await client.get(f"/api/v1/agents/result/{task}")).json()["output"] for task in tasks}
            assert results == tasks
            open_runs = await site.query("SELECT 1 FROM runs WHERE status IN ('queued', 'running', 'waiting')")
            assert open_runs == []
            assert "db check" in person.next_step(servers)
    assert person.steps_left == 0
