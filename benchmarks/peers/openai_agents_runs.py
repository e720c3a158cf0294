# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
"""openai-agents: one `Agent`, asked with `Runner.run`, its tracing switched off; it keeps nothing."""

from __future__ import annotations

import uvloop
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from benchmarks.peers.asked import INSTRUCTIONS, KEY, MAX_TOKENS, MODEL, MOST_TURNS, measured
from benchmarks.rounds import arguments, report


@function_tool
async def note(text: str) -> str:
    """Writes a note down"""
    return "noted"


async def measure(
    *, url: str, text: str, count: int, in_flight: int, tools: bool = False, streamed: bool = False
) -> dict[str, float]:
    set_tracing_disabled(True)
    agent = Agent(
        name="benchmark",
        instructions=INSTRUCTIONS,
        model=OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI(base_url=url, api_key=KEY)),
        model_settings=ModelSettings(max_tokens=MAX_TOKENS),
        tools=[note] if tools else [],
    )

    async def stream() -> None:
        async for _ in Runner.run_streamed(agent, text, max_turns=MOST_TURNS).stream_events():
            pass

    whole = stream if streamed else lambda: Runner.run(agent, text, max_turns=MOST_TURNS)
    return await measured(whole, count, in_flight)


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
