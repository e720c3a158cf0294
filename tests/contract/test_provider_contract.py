"""What every model provider promises (llm/provider.py); a new adapter adds itself to `PROVIDERS`.

An entry makes a provider that answers "hello there" with its own words, calls the tool `look` once when told to
"use the tool", and reports an unreachable service when told to "break".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

import pytest

from callboard.clock import SystemClock
from callboard.llm.errors import LLMServiceUnavailableError
from callboard.llm.provider import LLMChunk, LLMConfig, LLMProvider, LLMRequest, Message, ToolSpec
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.llm.script import ScriptCall, ScriptRule
from tests.support.model_servers.houses import WIRES, house

LOOK = ToolSpec(name="look", description="Looks.", parameters={"type": "object", "properties": {}})


@contextlib.asynccontextmanager
async def _scripted() -> AsyncIterator[LLMProvider]:
    rules = (
        ScriptRule(when="use the tool", call=ScriptCall(tool="look", args={"where": "up"}), say="I saw {result}"),
        ScriptRule(when="break", error="service_unavailable"),
        ScriptRule(say="You said:\n{input}\n"),
    )
    yield ScriptedProvider(LLMConfig(provider="scripted", model_id="script", script=rules), SystemClock())


@contextlib.asynccontextmanager
async def _at_its_server(name: str) -> AsyncIterator[LLMProvider]:
    async with house(name) as here:
        yield here.provider()


PROVIDERS: Mapping[str, Callable[[], contextlib.AbstractAsyncContextManager[LLMProvider]]] = {
    "scripted": _scripted,
    **{name: partial(_at_its_server, name) for name in WIRES},
}


@pytest.fixture(params=sorted(PROVIDERS))
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[LLMProvider]:
    async with PROVIDERS[request.param]() as made:
        yield made
        await made.close()
        await made.close()


def _asking(text: str, *more: Message) -> LLMRequest:
    return LLMRequest(messages=(Message(role="user", content=text), *more), tools=(LOOK,))


async def _pieces(provider: LLMProvider, request: LLMRequest) -> list[LLMChunk]:
    return [chunk async for chunk in provider.stream(request)]


async def test_an_answer_is_complete_and_counted(provider: LLMProvider) -> None:
    response = await provider.complete(_asking("hello there"))
    assert response.content.strip()
    assert response.finish_reason == "stop"
    assert response.model
    assert response.input_tokens > 0
    assert response.output_tokens > 0
    assert response.cost_usd is None or response.cost_usd >= 0


async def test_a_tool_call_comes_with_arguments_and_its_result_is_used(provider: LLMProvider) -> None:
    first = await provider.complete(_asking("use the tool"))
    assert first.finish_reason == "tool_calls"
    (call,) = first.tool_calls
    assert call.name == "look"
    assert call.id
    exchange = (
        Message(role="assistant", content=first.content, tool_calls=first.tool_calls),
        Message(role="tool", content="a lark", tool_call_id=call.id),
    )
    second = await provider.complete(_asking("use the tool", *exchange))
    assert "a lark" in second.content
    assert not second.tool_calls


@pytest.mark.parametrize("text", ["hello there", "use the tool"])
async def test_a_stream_is_the_answer_in_pieces_and_ends_with_the_whole(provider: LLMProvider, text: str) -> None:
    chunks = await _pieces(provider, _asking(text))
    assert [chunk.response is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    whole = chunks[-1].response
    assert whole is not None
    assert "".join(chunk.text for chunk in chunks) == whole.content
    assert whole == await provider.complete(_asking(text))


async def test_a_failure_is_one_of_the_known_errors_in_both_ways(provider: LLMProvider) -> None:
    with pytest.raises(LLMServiceUnavailableError) as caught:
        await provider.complete(_asking("break"))
    assert caught.value.retryable
    with pytest.raises(LLMServiceUnavailableError):
        await _pieces(provider, _asking("break"))


async def test_concurrent_calls_do_not_meet(provider: LLMProvider) -> None:
    texts = [f"hello there {number}" for number in range(20)]
    responses = await asyncio.gather(*(provider.complete(_asking(text)) for text in texts))
    assert all(text in response.content for text, response in zip(texts, responses, strict=True))


async def test_tokens_are_counted_and_grow_with_the_text(provider: LLMProvider) -> None:
    short, long = Message(role="user", content="hello"), Message(role="user", content="hello " * 100)
    assert 0 < provider.estimate_tokens([short]) < provider.estimate_tokens([long])
    assert 0 < await provider.count_tokens([short]) < await provider.count_tokens([long])
    cost = provider.get_cost(1000, 1000)
    assert cost is None or cost >= 0
