"""Whole runs of the embedded system whose model is asked over HTTP: processor time of this process a run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import uvloop
from pydantic import JsonValue

from benchmarks.house import Requests, running
from benchmarks.model_server import TOOL
from benchmarks.rounds import arguments, report
from callboard.agents.engine import Outcome, Work
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.tools.tool import ToolContext, ToolSet, ToolTraits
from callboard.bootstrap.tuning import Tuning

AGENT = "asks-a-model"
FILE = f"""\
name: {AGENT}
agent_type: benchmark
execution_mode: autonomous
instructions: You answer what you are asked, in one sentence.
llm_config: {{provider: openai, model_id: gpt-4.1-mini, max_tokens: 500}}
limits: {{max_tool_calls: 50, max_model_calls: 50}}
"""


class _Note:
    """A tool that does nothing, but might have: each of its calls goes through the whole ledger."""

    name = TOOL
    description = "Writes a note down"
    parameters: Mapping[str, JsonValue] = {  # never changed
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    idempotent = False
    timeout_seconds = 30.0
    traits = ToolTraits()

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        return "noted"


class _WithTheTool:
    """The engine as users have it, with one tool more than they can name."""

    def __init__(self) -> None:
        self._engine = ToolLoopEngine()
        self._tools = ToolSet((_Note(),))

    async def execute(self, work: Work) -> Outcome:
        return await self._engine.execute(replace(work, tools=self._tools))


async def measure(
    *, url: str, text: str, count: int, in_flight: int, tools: bool = False, streamed: bool = False
) -> dict[str, float]:
    """`text` tells the model server what to do. Runs are streamed as those of the API are, or not as all others."""
    with tempfile.TemporaryDirectory(prefix="callboard-benchmark-") as name:
        folder = Path(name)
        await asyncio.to_thread(write_agent, folder / "agents")
        environment = {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": url}
        if not streamed:
            environment["CALLBOARD_STREAMED_RUNS"] = "0"
        tuning = Tuning(engine=_WithTheTool()) if tools else None
        async with running(folder, environment=environment, tuning=tuning) as system:
            requests = Requests(system)
            await requests.many(AGENT, max(in_flight, count // 5), in_flight, text)
            began, cpu = time.perf_counter(), time.process_time()
            await requests.many(AGENT, count, in_flight, text)
            used, took = time.process_time() - cpu, time.perf_counter() - began
    done = count // in_flight * in_flight
    return {"cpu": used / done, "seconds": took * in_flight / done}


def write_agent(agents: Path) -> None:
    """The file of the agent that asks the model server."""
    agents.mkdir(parents=True)
    (agents / f"{AGENT}.yaml").write_text(FILE)


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
