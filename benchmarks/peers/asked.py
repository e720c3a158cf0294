"""The same conversations by somebody else's agents: so many at a time, processor time of this process a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

INSTRUCTIONS = "You answer what you are asked, in one sentence."
MODEL = "gpt-4.1-mini"
KEY = "sk-benchmark"
MAX_TOKENS = 500
MOST_TURNS = 50


async def measured(run: Callable[[], Awaitable[object]], count: int, in_flight: int) -> dict[str, float]:
    """Some are made before the clock starts."""
    await _many(run, max(in_flight, count // 5), in_flight)
    began, cpu = time.perf_counter(), time.process_time()
    await _many(run, count, in_flight)
    used, took = time.process_time() - cpu, time.perf_counter() - began
    done = count // in_flight * in_flight
    return {"cpu": used / done, "seconds": took * in_flight / done}


async def _many(run: Callable[[], Awaitable[object]], count: int, in_flight: int) -> None:
    async def client() -> None:
        for _ in range(count // in_flight):
            await run()

    await asyncio.gather(*(client() for _ in range(in_flight)))
