"""Works, tools and models for the tests of engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from callboard.agents.engine import Answer, Journal, Work, WorkLimits
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolSet, ToolTraits
from callboard.clock import Clock, ManualClock
from callboard.config.tool_settings import ToolSettings
from callboard.llm.provider import (
    LLMChunk,
    LLMConfig,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    Message,
    ToolCall,
    ToolSpec,
)
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.llm.script import ScriptRule

SCRIPT = LLMConfig(provider="scripted", model_id="script", max_tokens=100)


@dataclass
class Counter:
    """A tool that counts its calls; `fails` says how the next ones end: "error", "unknown" or "hang"."""

    name: str = "send"
    idempotent: bool = False
    timeout_seconds: float = 0.05
    result: str = "sent"
    fails: list[str] = field(default_factory=list)
    calls: list[Mapping[str, JsonValue]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    description: str = "Sends a text."
    traits: ToolTraits = ToolTraits()  # noqa: RUF009  # frozen
    parameters: Mapping[str, JsonValue] = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        }
    )

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        self.calls.append(arguments)
        self.keys.append(context.idempotency_key)
        match self.fails.pop(0) if self.fails else None:
            case "error":
                raise ToolError("the door was shut")
            case "unknown":
                raise ToolError("the line went dead", outcome_unknown=True)
            case "hang":
                await asyncio.Event().wait()
        return self.result


class ModelOf:
    """A model that gives these answers in turn and keeps what it was asked."""

    def __init__(self, *answers: LLMResponse | Exception | Callable[[LLMRequest], LLMResponse]) -> None:
        self._answers = list(answers)
        self.requests: list[LLMRequest] = []

    async def complete(self, request: LLMRequest) -> LLMResponse:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, LLMResponse) else answer(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(response=await self.complete(request))

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return len(messages)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return None

    async def close(self) -> None:
        """Holds nothing."""


def says(content: str, *calls: ToolCall, cost_usd: float | None = 0.5) -> LLMResponse:
    return LLMResponse(
        content=content,
        model="m",
        input_tokens=10,
        output_tokens=3,
        finish_reason="tool_calls" if calls else "stop",
        cost_usd=cost_usd,
        tool_calls=calls,
    )


def calls(name: str, **arguments: JsonValue) -> LLMResponse:
    return says("", ToolCall(id="c1", name=name, arguments=arguments))


def work(
    journal: Journal,
    provider: LLMProvider | Sequence[ScriptRule],
    *,
    input: str = "hello",  # noqa: A002 - the record's own word
    tools: Sequence[Tool] = (),
    answers: Mapping[str, JsonValue | Answer] | None = None,
    clock: Clock | None = None,
    limits: WorkLimits | None = None,
    deadline: float | None = None,
    history: tuple[Message, ...] = (),
    turn: int = 1,
    settings: Sequence[ToolSettings] = (),
    config: LLMConfig = SCRIPT,
    **more: Any,
) -> Work:
    """A work with everything that a test does not care about."""
    time = clock or ManualClock()
    if isinstance(provider, Sequence):
        rules = LLMConfig(provider="scripted", model_id="script", script=tuple(provider))
        provider = ScriptedProvider(rules, time)
    return Work(
        run_id="run-1",
        attempt=1,
        agent="standup",
        instructions="Be brief.",
        config=config,
        provider=provider,
        tools=ToolSet(tuple(tools), {each.name: each for each in settings if each.name is not None}),
        input=input,
        journal=journal,
        clock=time,
        history=history,
        turn=turn,
        deadline=deadline,
        limits=limits or WorkLimits(),
        answers={
            key: value if isinstance(value, Answer) else Answer(value=value) for key, value in (answers or {}).items()
        },
        **more,
    )
