"""pydantic-ai: one `Agent`, asked with `run`, as it comes; it keeps nothing."""

from __future__ import annotations

import uvloop
from pydantic_ai import Agent, UsageLimits
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from benchmarks.peers.asked import INSTRUCTIONS, KEY, MAX_TOKENS, MODEL, MOST_TURNS, measured
from benchmarks.rounds import arguments, report


async def note(text: str) -> str:
    """Writes a note down"""
    return "noted"


async def measure(
    *, url: str, text: str, count: int, in_flight: int, tools: bool = False, streamed: bool = False
) -> dict[str, float]:
    agent = Agent(
        OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key=KEY)),
        instructions=INSTRUCTIONS,
        tools=[note] if tools else [],
        model_settings=ModelSettings(max_tokens=MAX_TOKENS),
    )
    limits = UsageLimits(request_limit=MOST_TURNS)

    async def stream() -> None:
        async with agent.run_stream(text, usage_limits=limits) as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                pass

    return await measured(stream if streamed else lambda: agent.run(text, usage_limits=limits), count, in_flight)


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
