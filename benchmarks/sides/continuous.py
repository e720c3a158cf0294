"""The runner of continuous agents: each gets some events, which it applies one after another, and then idles."""

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

LIVES = """\
name: {name}
agent_type: benchmark
execution_mode: continuous
llm_config: {{provider: scripted, model_id: script, script: [{{say: "turn {{turn}}: {{input}}"}}]}}
"""


async def measure(*, agents: int, events: int, database_url: str, **urls: Any) -> dict[str, float]:
    names = [f"lives-{number}" for number in range(agents)]
    files = {name: LIVES.format(name=name) for name in names}
    roles = ["agent-orchestrator", "continuous-agent-runner"]
    async with (
        company(files, roles, database_url=database_url, **urls) as running,
        front_desk(running.environment) as desk,
    ):
        began = time.perf_counter()
        for _ in range(events):
            await asyncio.gather(*(desk.accept(name) for name in names))
        ended = await until(database_url, ENDED, agents * events)
        await asyncio.sleep(2)
        return {
            "rate": agents * events / (ended - began),
            "resident": resident_bytes(running.members[-1].pid),
            "left": await desk.messages_left(),
        }


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
