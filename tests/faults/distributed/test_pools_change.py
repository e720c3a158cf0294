"""Pools that are stopped, replaced and frozen while they work: C10 and I6 of the catalogue, on three replicas."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.distributed.house import House, house
from tests.support.distributed.cluster import ROLES
from tests.support.distributed.nursery import Nursery
from tests.support.distributed.role_process import RoleProcess
from tests.support.distributed.site import LEASE_DEAD_SECONDS
from tests.support.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(300)]

POOL = "autonomous-agent-pool"
DRAIN_SECONDS = 8
MOST_TASKS = 200
WORKER = """\
name: worker
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: brief, wait_seconds: 0.2, say: "{input}"}
    - {when: long, wait_seconds: 5, say: "{input}"}
    - {when: endless, wait_seconds: 200, say: "{input}"}
"""


async def test_C10_I6_pools_that_are_replaced_frozen_and_stopped(
    tmp_path: Path, loaded: Nursery, subtests: pytest.Subtests
) -> None:
    environment = {"CALLBOARD_DRAIN_SECONDS": str(DRAIN_SECONDS), "CALLBOARD_POOL_CONCURRENCY": "10"}
    roles = [role for role in ROLES if role not in ("scheduler-service", "celery-worker")]
    async with house(tmp_path, loaded.spawn, roles=roles, scale={POOL: 3}, **environment) as built:
        await built.add_agents(worker=WORKER)
        with subtests.test("C10 rolling restart of three replicas under load"):
            await _rolling_restart(built)
        with subtests.test("C10 I6 a frozen worker's late writes are refused"):
            await _late_writes(built)
        with subtests.test("C10 SIGTERM under load hands back what cannot be finished, without a loss"):
            await _handed_back(built)
        with subtests.test("C10 SIGTERM twice ends at once"):
            await _forced(built)


async def _rolling_restart(built: House) -> None:
    tasks: list[str] = []

    async def steadily() -> None:
        while len(tasks) < MOST_TASKS:
            tasks.append(await built.invoke("worker", f"brief {len(tasks)}"))
            await let_pass(0.05, "requests come at a steady rate")

    sending = asyncio.create_task(steadily())
    for process in built.cluster.of(POOL):
        process.stop()
        assert await process.exit_code(within=DRAIN_SECONDS + 2) == 0, process.told
        await built.cluster.replace(process)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    for number, task in enumerate(tasks):
        ended = await built.ended(task)
        assert (ended["status"], ended["lease_losses"]) == ("succeeded", 0), f"brief {number}: {ended}"
    outputs = await _outputs(built, tasks)
    assert outputs == {task: f"brief {number}" for number, task in enumerate(tasks)}
    assert len(tasks) > 10


async def _late_writes(built: House) -> None:
    """The one who works on a run is stopped past its lease; another takes over; then the first goes on."""
    task = await built.invoke("worker", "long work")
    owner = await _owner(built, task)
    owner.freeze()

    async def taken_over() -> bool:
        row = await built.run(task)
        return bool(row["fencing"] == 2 and row["status"] == "running")

    await wait_until(taken_over, "another process has the run", within=LEASE_DEAD_SECONDS * 10)
    owner.thaw()
    assert await owner.exit_code() == 1
    assert "this process was declared dead and ends" in {record["message"] for record in owner.records()}
    ended = await built.ended(task)
    assert (ended["status"], ended["fencing"], ended["lease_losses"]) == ("succeeded", 2, 1)
    notes = await built.site.query("SELECT data FROM progress WHERE run_id = $1 AND kind = 'status' ORDER BY n", task)
    told = [note["data"] for note in notes]
    assert sum('"succeeded"' in data for data in told) == 1, told
    assert '"succeeded"' in told[-1]
    ends = await built.site.query(
        "SELECT event_id FROM events WHERE topic = 'run.succeeded.worker' AND trace_id = $1", ended["trace_id"]
    )
    assert len(ends) == 1
    others = [process for process in built.cluster.of(POOL) if process is not owner]

    def finished() -> int:
        records = [record for process in others for record in process.records() if record.get("run_id") == task]
        return Counter(record["message"] for record in records)["run succeeded"]

    await wait_until(finished, "the log says who has finished it")
    assert finished() == 1
    await built.cluster.replace(owner)


async def _handed_back(built: House) -> None:
    task = await built.invoke("worker", "endless")
    owner = await _owner(built, task)
    owner.stop()
    assert await owner.exit_code(within=DRAIN_SECONDS + 4) == 0, owner.told

    async def with_another() -> bool:
        row = await built.run(task)
        return bool(row["status"] == "running" and row["fencing"] == 2)

    await wait_until(with_another, "another process has the run")
    assert (await built.run(task))["lease_losses"] == 0
    async with built.cluster.client() as client:
        assert (await client.post(f"/api/v1/agents/cancel/{task}")).status_code == 202
    assert (await built.ended(task))["status"] == "cancelled"
    await built.cluster.replace(owner)


async def _forced(built: House) -> None:
    task = await built.invoke("worker", "endless")
    owner = await _owner(built, task)
    owner.stop()
    await owner.logged("stopping")
    owner.send(signal.SIGTERM)
    assert await owner.exit_code(within=DRAIN_SECONDS - 3) == 1
    async with built.cluster.client() as client:
        assert (await client.post(f"/api/v1/agents/cancel/{task}")).status_code == 202
    assert (await built.ended(task))["status"] == "cancelled"


async def _owner(built: House, task: str) -> RoleProcess:
    """The process that works on a run."""

    async def pid() -> int | None:
        rows = await built.site.query(
            "SELECT p.pid FROM runs r JOIN processes p ON p.id = r.owner WHERE r.run_id = $1 AND r.status = 'running'",
            task,
        )
        return int(rows[0]["pid"]) if rows else None

    found = await wait_until(pid, f"somebody works on {task}")
    return next(process for process in built.cluster.of(POOL) if process.pid == found)


async def _outputs(built: House, tasks: list[str]) -> dict[str, str]:
    async with built.cluster.client() as client:
        return {task: (await client.get(f"/api/v1/agents/result/{task}")).json()["output"] for task in tasks}
