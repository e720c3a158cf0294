"""One process of the autonomous pool: started over a run that waits, then worked in, then looked at."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import uvloop

from benchmarks.peers.rows import until
from benchmarks.process_tree import proportional_bytes, resident_bytes
from benchmarks.rounds import arguments, report
from benchmarks.sides.company import company
from benchmarks.sides.front_desk import ENDED, front_desk
from benchmarks.sides.runs import AGENT, ECHO


async def measure(*, count: int, database_url: str, rabbitmq_url: str, redis_url: str, **_: Any) -> dict[str, float]:
    urls = {"database_url": database_url, "rabbitmq_url": rabbitmq_url, "redis_url": redis_url}
    async with (
        company({AGENT: ECHO}, ["agent-orchestrator"], **urls) as running,
        front_desk(running.environment) as desk,
    ):
        await desk.accept(AGENT)
        await asyncio.sleep(1)
        began = time.perf_counter()
        hired = asyncio.ensure_future(running.hire("autonomous-agent-pool"))
        first = await until(database_url, ENDED, 1) - began
        pool = await hired
        await desk.keep_in_flight(AGENT, count, 100)
        await until(database_url, ENDED, 1 + count)
        await asyncio.sleep(1)
        return {"bytes": proportional_bytes(pool.pid), "resident": resident_bytes(pool.pid), "first": first}


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
