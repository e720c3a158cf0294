"""Whole durable runs of the distributed system: a front desk accepts, one orchestrator routes, a pool works."""

from __future__ import annotations

import statistics
import time
from typing import Any

import uvloop

from benchmarks.peers.rows import one_by_one, until
from benchmarks.rounds import arguments, report
from benchmarks.sides.company import company
from benchmarks.sides.front_desk import ENDED, ONE_ENDED, front_desk

AGENT = "echo-0"
ECHO = f"""\
name: {AGENT}
agent_type: benchmark
execution_mode: autonomous
llm_config: {{provider: scripted, model_id: echo}}
"""
ROLES = ("agent-orchestrator", "autonomous-agent-pool")


async def measure(*, work: str, count: int, in_flight: int, database_url: str, **urls: Any) -> dict[str, float]:
    async with (
        company({AGENT: ECHO}, ROLES, database_url=database_url, **urls) as running,
        front_desk(running.environment) as desk,
    ):
        await desk.keep_in_flight(AGENT, in_flight * 2, in_flight)
        await until(database_url, ENDED, in_flight * 2)
        if work == "alone":
            took = await one_by_one(database_url, ONE_ENDED, lambda: desk.accept(AGENT), count)
            return {"seconds": statistics.median(took), "slowest": max(took)}
        began = time.perf_counter()
        await desk.keep_in_flight(AGENT, count, in_flight)
        ended = await until(database_url, ENDED, in_flight * 2 + count)
        return {"rate": count / (ended - began)}


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
