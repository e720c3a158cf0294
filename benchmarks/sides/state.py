"""Our state manager over PostgreSQL with Redis before it: saving a state whole, loading it from the cache."""

from __future__ import annotations

import asyncio
import io
import statistics
import time
from typing import Any

import uvloop

from benchmarks.rounds import arguments, report
from benchmarks.state_payload import messages
from callboard.clock import SystemClock
from callboard.ids import RandomIds
from callboard.logs import LogSettings, Redactor, configure
from callboard.messaging.local import LocalEventBus
from callboard.state.agent_state import AgentState, StateSave
from callboard.state.outbox import Outbox
from callboard.state.redis_cache import RedisCache
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.state_manager import StateManager
from callboard.state.store import Store

AGENT, CONVERSATION = "benchmark", "one"


async def measure(*, database_url: str, redis_url: str, state_bytes: int, count: int, **_more: Any) -> dict[str, float]:
    clock = SystemClock()
    database, cache = PostgresDatabase(database_url), RedisCache(redis_url, clock)
    await database.start()
    await database.migrate()
    await cache.start()
    outbox = Outbox(database, LocalEventBus(clock, _no_letters), clock)
    states = StateManager(database, Store(database, outbox, clock), clock, cache)
    name = f"{CONVERSATION}-{RandomIds().new()}"
    saves: list[float] = []
    loads: list[float] = []
    try:
        state = AgentState(agent=AGENT, conversation_id=name)
        for number in range(count + 3):
            memory = {"messages": messages(state_bytes, number)}
            save = StateSave(
                agent=AGENT,
                conversation_id=name,
                expected=number,
                memory=memory,
                appended=(),
                turns=number,
                before=state,
            )
            began = time.perf_counter()
            await states.save_state(save)
            saves.append(time.perf_counter() - began)
            state = AgentState(agent=AGENT, conversation_id=name, version=number + 1, memory=memory)
        await asyncio.sleep(0.5)
        for _ in range(count + 3):
            began = time.perf_counter()
            found = await states.load_state(AGENT, name, display=True)
            loads.append(time.perf_counter() - began)
            assert found.memory["messages"] == messages(state_bytes, count + 2)
        began = time.perf_counter()
        await states.load_state(AGENT, name)
        uncached = time.perf_counter() - began
    finally:
        await cache.close()
        await database.close()
    return {"save": statistics.median(saves[3:]), "load": statistics.median(loads[3:]), "uncached": uncached}


async def _no_letters(letter: object) -> None:
    raise AssertionError(f"nothing is sent here: {letter}")


if __name__ == "__main__":
    with configure(LogSettings(), stream=io.StringIO(), redactor=Redactor()):
        report(**uvloop.run(measure(**arguments())))
