"""Runs of an agent that only waits, in one or several processes of the pool."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import uvloop

from benchmarks.peers.rows import until
from benchmarks.process_tree import resident_bytes
from benchmarks.rounds import arguments, report
from benchmarks.sides.company import company
from benchmarks.sides.front_desk import ENDED, front_desk

AGENT = "waits"
WAITS = f"""\
name: {AGENT}
agent_type: benchmark
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script: [{{wait_seconds: %s, say: done}}]
"""


async def measure(
    *, pools: int, slots: int, wait_seconds: float, count: int, in_flight: int | None, database_url: str, **urls: Any
) -> dict[str, float]:
    """Runs a second from the first accept to the last end; the clock starts after the processes have worked once.

    Without `in_flight` all are accepted at once.
    """
    roles = ["agent-orchestrator", *(["autonomous-agent-pool"] * pools)]
    environment = {"CALLBOARD_POOL_CONCURRENCY": str(slots)}
    async with (
        company({AGENT: WAITS % wait_seconds}, roles, database_url=database_url, **urls, **environment) as running,
        front_desk(running.environment) as desk,
    ):
        warm = pools * 20
        await desk.keep_in_flight(AGENT, warm, warm)
        await until(database_url, ENDED, warm)
        largest = 0
        pids = [member.pid for member in running.members if member.role == "autonomous-agent-pool"]

        async def watch() -> None:
            nonlocal largest
            while True:
                largest = max(largest, *(resident_bytes(pid) for pid in pids))
                await asyncio.sleep(0.5)

        watching = asyncio.ensure_future(watch())
        began = time.perf_counter()
        await desk.keep_in_flight(AGENT, count, in_flight or count, look_seconds=0.05)
        ended = await until(database_url, ENDED, warm + count)
        watching.cancel()
        return {"rate": count / (ended - began), "resident": largest}


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
