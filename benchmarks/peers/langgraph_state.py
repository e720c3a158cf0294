# mypy: disable-error-code="import-not-found"
"""langgraph's AsyncPostgresSaver from a connection string, as its guide has it: a thread's checkpoints in turn.

A save is `aput` of a checkpoint whose one channel has a new version; a load is `aget_tuple` of the latest.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import uvloop
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from benchmarks.rounds import arguments, report
from benchmarks.state_payload import messages


async def measure(*, database_url: str, state_bytes: int, count: int, **_more: Any) -> dict[str, float]:
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        await saver.setup()
        config: Any = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
        saves: list[float] = []
        loads: list[float] = []
        for number in range(count + 3):
            version = f"{number + 1:032}.1"
            checkpoint: Any = empty_checkpoint()
            checkpoint["channel_values"] = {"messages": messages(state_bytes, number)}
            checkpoint["channel_versions"] = {"messages": version}
            began = time.perf_counter()
            metadata: Any = {"source": "loop", "step": number}
            config = await saver.aput(config, checkpoint, metadata, {"messages": version})
            saves.append(time.perf_counter() - began)
        latest: Any = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
        for _ in range(count + 3):
            began = time.perf_counter()
            found = await saver.aget_tuple(latest)
            loads.append(time.perf_counter() - began)
            assert found is not None
            assert found.checkpoint["channel_values"]["messages"] == messages(state_bytes, count + 2)
    return {"save": statistics.median(saves[3:]), "load": statistics.median(loads[3:])}


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
