"""Runs that wait for a slow model, all of them in one worker: a pool's process, or the embedded system."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.house import Requests, running
from benchmarks.peers.rows import until
from benchmarks.process_tree import resident_bytes
from benchmarks.rounds import arguments, report
from benchmarks.sides.company import company
from benchmarks.sides.front_desk import ENDED, front_desk
from benchmarks.sides.model_runs import AGENT, FILE, write_agent

WARM = "wait 0.3"
"""As many runs at once before the clock starts: they import the model libraries and open the connections, which are
kept."""


async def measure(*, url: str, count: int, wait_seconds: float, **urls: str) -> dict[str, float]:
    """Seconds from the first accept to the last stored result, and its memory then; `urls` are the servers'."""
    asking = {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": url}
    if urls:
        return await _in_a_pool(asking, count, f"wait {wait_seconds:g}", **urls)
    with tempfile.TemporaryDirectory(prefix="callboard-benchmark-") as name:
        return await _embedded(Path(name), asking, count, f"wait {wait_seconds:g}")


async def _in_a_pool(
    asking: dict[str, str], count: int, text: str, *, database_url: str, **urls: str
) -> dict[str, float]:
    roles = ["agent-orchestrator", "autonomous-agent-pool"]
    async with (
        company({AGENT: FILE}, roles, database_url=database_url, rabbitmq_url=urls["rabbitmq_url"], **asking) as staff,
        front_desk(staff.environment) as desk,
    ):
        pool = next(member for member in staff.members if member.role == "autonomous-agent-pool")
        await asyncio.gather(*(desk.accept(AGENT, WARM) for _ in range(count)))
        await until(database_url, ENDED, count)
        began = time.perf_counter()
        await asyncio.gather(*(desk.accept(AGENT, text) for _ in range(count)))
        ended = await until(database_url, ENDED, 2 * count)
        return {"seconds": ended - began, "resident": resident_bytes(pool.pid)}


async def _embedded(folder: Path, asking: dict[str, str], count: int, text: str) -> dict[str, float]:
    await asyncio.to_thread(write_agent, folder / "agents")
    async with running(folder, environment=asking) as system:
        requests = Requests(system)
        await requests.many(AGENT, count, count, WARM)
        began = time.perf_counter()
        await requests.many(AGENT, count, count, text)
        return {"seconds": time.perf_counter() - began, "resident": resident_bytes(os.getpid())}


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
