"""Our adapters and our engine at model servers that others wrote (RELIABILITY.md, G1).

llmock grades its clients: `llmock report` ends with 1 when one ignored Retry-After, repeated what must not be repeated,
retried without end, or took a stream for whole that was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from callboard.agents.engine import Succeeded
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.clock import SystemClock
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMContextTooLongError,
    LLMInvalidRequestError,
    LLMModelNotFoundError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider, LLMRequest, LLMResponse, Message, ToolSpec
from callboard.llm.providers.access import ProviderAccess
from callboard.llm.providers.builders import ModelBuilders
from tests.support.model_servers.foreign import AIMock, LLMock, aimock, llmock
from tests.unit.agents.engine_parts import Counter, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal

pytestmark = pytest.mark.slow

HELLO = LLMRequest(messages=(Message(role="user", content="hello"),))
LOOK = ToolSpec(
    name="look",
    description="Looks somewhere.",
    parameters={"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
)
LOOKING = LLMRequest(messages=(Message(role="user", content="look where the lark is"),), tools=(LOOK,))
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
AT_LLMOCK = pytest.mark.parametrize("name", ["anthropic", "openai"])
MODELS = {"anthropic": "claude-sonnet-4-5", "bedrock": "anthropic.claude-3-5-sonnet-20241022-v2:0", "openai": "gpt-4o"}
PATHS = {"anthropic": "/anthropic", "openai": "/v1"}


@pytest.fixture(scope="module")
def graded() -> Iterator[LLMock]:
    with llmock() as server:
        yield server


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AIMock]:
    rules: list[Mapping[str, Any]] = [
        {"match": {"userMessage": "hello"}, "response": {"content": "Hello to you!"}},
        {
            "match": {"userMessage": "look", "hasToolResult": False},
            "response": {"toolCalls": [{"name": "look", "arguments": {"where": "up"}}]},
        },
        {"match": {"userMessage": "look", "hasToolResult": True}, "response": {"content": "A lark."}},
    ]
    with aimock(tmp_path_factory.mktemp("aimock"), rules) as server:
        yield server


def provider(name: str, base_url: str, *, timeout_seconds: float = 20.0) -> LLMProvider:
    access = ProviderAccess(
        openai_api_key="k",
        anthropic_api_key="k",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="s",
        aws_region="us-east-1",
    )
    config = LLMConfig(
        provider=name, model_id=MODELS.get(name, "llama3.1"), base_url=base_url, timeout_seconds=timeout_seconds
    )
    return ModelBuilders(access, PriceTable(), lambda text: text).all()[name](config)


async def answer(asked: LLMProvider, request: LLMRequest, *, streamed: bool = False) -> LLMResponse:
    try:
        if not streamed:
            return await asked.complete(request)
        last = [chunk async for chunk in asked.stream(request)][-1].response
        assert last is not None
        return last
    finally:
        await asked.close()


async def passed(server: LLMock) -> None:
    verdict = await server.verdict()
    assert verdict["passed"], verdict["findings"]


@AT_LLMOCK
@BOTH_WAYS
async def test_an_answer_and_a_call(graded: LLMock, name: str, streamed: bool) -> None:
    await graded.will()
    said = await answer(provider(name, graded.url + PATHS[name]), HELLO, streamed=streamed)
    assert said.content
    assert said.finish_reason == "stop"
    assert said.input_tokens > 0
    called = await answer(provider(name, graded.url + PATHS[name]), LOOKING, streamed=streamed)
    assert called.finish_reason == "tool_calls"
    assert [(call.name, sorted(call.arguments)) for call in called.tool_calls] == [("look", ["where"])]
    await passed(graded)


@AT_LLMOCK
@BOTH_WAYS
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ({"type": "fail", "status": 400}, LLMInvalidRequestError),
        ({"type": "fail", "status": 401}, LLMAuthenticationError),
        ({"type": "fail", "status": 403}, LLMAuthenticationError),
        ({"type": "fail", "status": 404}, LLMModelNotFoundError),
        ({"type": "fail", "status": 413}, LLMInvalidRequestError),
        ({"type": "fail", "status": 422}, LLMInvalidRequestError),
        ({"type": "fail", "status": 429}, LLMRateLimitError),
        ({"type": "fail", "status": 500}, LLMServiceUnavailableError),
        ({"type": "fail", "status": 503}, LLMServiceUnavailableError),
        ({"type": "fail", "status": 529}, LLMServiceUnavailableError),
    ],
    ids=lambda value: str(value["status"]) if isinstance(value, dict) else "",
)
async def test_G1_an_error_is_told_as_what_it_means_and_asked_once(
    graded: LLMock, name: str, behaviour: Mapping[str, Any], kind: type[LLMProviderError], streamed: bool
) -> None:
    await graded.will(behaviour)
    with pytest.raises(LLMProviderError) as caught:
        await answer(provider(name, graded.url + PATHS[name]), HELLO, streamed=streamed)
    assert type(caught.value) is kind
    assert len(await graded.requests()) == 1
    await passed(graded)


@AT_LLMOCK
@pytest.mark.parametrize(
    "behaviour",
    [
        {"type": "stream_fault", "kind": "disconnect", "after_chunks": 2},
        {"type": "stream_fault", "kind": "truncate", "after_chunks": 2},
        {"type": "stream_fault", "kind": "malformed", "after_chunks": 4},  # before it, Anthropic's is a `ping`
        {"type": "stream_fault", "kind": "stall", "after_chunks": 2, "stall_seconds": 8},
        {"type": "slow_first_token", "seconds": 8},
        {"type": "delay", "seconds": 8},
    ],
    ids=lambda behaviour: behaviour.get("kind", behaviour["type"]),
)
async def test_G1_a_broken_stream_is_no_answer_and_can_be_asked_for_again(
    graded: LLMock, name: str, behaviour: Mapping[str, Any]
) -> None:
    base_url = graded.url + PATHS[name]
    await graded.will()
    await answer(provider(name, base_url), HELLO)  # what is loaded with the first call takes no part of the limit
    await graded.will(behaviour)
    with pytest.raises(LLMServiceUnavailableError):
        await answer(provider(name, base_url, timeout_seconds=2), HELLO, streamed=True)
    # The caller's part: llmock takes a cut stream for accepted unless it is asked for again.
    assert (await answer(provider(name, base_url), HELLO, streamed=True)).finish_reason == "stop"
    await passed(graded)


@AT_LLMOCK
async def test_G1_too_long_a_conversation_is_known_as_such(graded: LLMock, name: str) -> None:
    words = {
        "openai": {"code": "context_length_exceeded", "message": "This model's maximum context length is 8 tokens."},
        "anthropic": {"message": "prompt is too long: 9 tokens > 8 maximum"},
    }
    await graded.will({"type": "fail", "status": 400, **words[name]})
    with pytest.raises(LLMContextTooLongError):
        await answer(provider(name, graded.url + PATHS[name]), HELLO)
    await passed(graded)


@AT_LLMOCK
@BOTH_WAYS
async def test_G1_a_tool_that_was_never_offered_is_passed_on_for_the_engine_to_judge(
    graded: LLMock, name: str, streamed: bool
) -> None:
    await graded.will({"type": "tool_fault", "kind": "unknown_tool"})
    said = await answer(provider(name, graded.url + PATHS[name]), LOOKING, streamed=streamed)
    assert [call.name for call in said.tool_calls] != ["look"]
    assert said.finish_reason == "tool_calls"


@BOTH_WAYS
async def test_G1_arguments_that_are_no_json_are_kept(graded: LLMock, streamed: bool) -> None:
    await graded.will({"type": "tool_fault", "kind": "malformed_arguments"})
    (call,) = (await answer(provider("openai", graded.url + "/v1"), LOOKING, streamed=streamed)).tool_calls
    assert call.malformed
    assert not call.arguments


@AT_LLMOCK
async def test_G1_the_engine_waits_as_long_as_it_is_told_and_the_run_succeeds(graded: LLMock, name: str) -> None:
    await graded.will({"type": "fail", "status": 429, "retry_after": 1, "times": 2})
    asked = provider(name, graded.url + PATHS[name])
    try:
        outcome = await ToolLoopEngine().execute(
            work(MemoryJournal(Ledger()), asked, input="hello", clock=SystemClock(), tools=[Counter()])
        )
    finally:
        await asked.close()
    assert isinstance(outcome, Succeeded)
    assert len([seen for seen in await graded.requests() if seen["status"] == 429]) == 2
    assert (await graded.verdict())["warnings"] == 0
    code, said = await graded.report()
    assert code == 0, said


async def test_G1_llmock_does_fail_a_client_that_takes_a_cut_stream_for_whole(graded: LLMock) -> None:
    """So that its praise means something."""
    await graded.will({"type": "stream_fault", "kind": "truncate", "after_chunks": 2})
    with pytest.raises(LLMServiceUnavailableError):
        await answer(provider("openai", graded.url + "/v1"), HELLO, streamed=True)
    code, said = await graded.report()
    assert (code, "truncated_stream_accepted" in said) == (1, True), said


@AT_LLMOCK
async def test_G1_many_at_once_meet_no_other_s_answer(graded: LLMock, name: str) -> None:
    await graded.will()
    asked = provider(name, graded.url + PATHS[name])
    texts = [f"hello number {number}" for number in range(20)]
    requests = [LLMRequest(messages=(Message(role="user", content=text),)) for text in texts]
    try:
        together = await asyncio.gather(*(asked.complete(request) for request in requests))
        alone = [await asked.complete(request) for request in requests]
    finally:
        await asked.close()
    assert [response.content for response in together] == [response.content for response in alone]
    assert len({response.content for response in alone}) > 1


AT_AIMOCK = pytest.mark.parametrize(
    ("name", "path", "streamed"),
    [
        ("anthropic", "", False),
        ("anthropic", "", True),
        ("bedrock", "", False),  # its event stream is none that botocore accepts (RELIABILITY.md, finding 20)
        ("ollama", "", False),
        ("ollama", "", True),
        ("openai", "/v1", False),
        ("openai", "/v1", True),
    ],
)


@AT_AIMOCK
async def test_an_answer_a_call_and_its_result(ruled: AIMock, name: str, path: str, streamed: bool) -> None:
    await ruled.chaos()
    said = await answer(provider(name, ruled.url + path), HELLO, streamed=streamed)
    assert (said.content, said.finish_reason) == ("Hello to you!", "stop")
    called = await answer(provider(name, ruled.url + path), LOOKING, streamed=streamed)
    (call,) = called.tool_calls
    assert (call.name, dict(call.arguments)) == ("look", {"where": "up"})
    exchange = (
        Message(role="assistant", content=called.content, tool_calls=called.tool_calls),
        Message(role="tool", content="a lark", tool_call_id=call.id),
    )
    request = LLMRequest(messages=(*LOOKING.messages, *exchange), tools=(LOOK,))
    assert (await answer(provider(name, ruled.url + path), request, streamed=streamed)).content == "A lark."


@AT_AIMOCK
@pytest.mark.parametrize(
    ("rates", "kind"),
    [
        ({"dropRate": 1.0}, LLMServiceUnavailableError),
        ({"malformedRate": 1.0}, LLMServiceUnavailableError),
        ({"disconnectRate": 1.0}, LLMServiceUnavailableError),
        ({"rateLimitRate": 1.0}, LLMRateLimitError),
    ],
    ids=["dropped", "malformed", "disconnected", "limited"],
)
async def test_G1_chaos_is_told_as_what_it_means(
    ruled: AIMock, name: str, path: str, streamed: bool, rates: Mapping[str, float], kind: type[LLMProviderError]
) -> None:
    await ruled.chaos(**rates)
    try:
        with pytest.raises(kind):
            await answer(provider(name, ruled.url + path), HELLO, streamed=streamed)
    finally:
        await ruled.chaos()
