"""What a model server can do wrong, told by every adapter as one of the known errors (RELIABILITY.md, G1, G5).

Each adapter asks a server on this machine over HTTP; nothing of the adapters or their libraries is replaced.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator

import pytest

from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMContextTooLongError,
    LLMInvalidRequestError,
    LLMModelNotFoundError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.provider import LLMProvider, LLMRequest, LLMResponse, Message, ToolCall, ToolSpec
from tests.support.model_servers.bedrock_wire import frame
from tests.support.model_servers.houses import WIRES, House, house
from tests.support.model_servers.server import RIGHT_KEY
from tests.support.model_servers.wire import Call, Fault, Says
from tests.support.waiting import wait_until

LOOK = ToolSpec(name="look", description="Looks.", parameters={"type": "object", "properties": {}})
ASKED = LLMRequest(messages=(Message(role="user", content="hello"),), tools=(LOOK,))
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture(params=sorted(WIRES))
async def here(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with house(request.param) as found:
        yield found


async def _answer(provider: LLMProvider, streamed: bool, request: LLMRequest = ASKED) -> LLMResponse:
    if not streamed:
        return await provider.complete(request)
    last = [chunk async for chunk in provider.stream(request)][-1].response
    assert last is not None
    return last


async def _failure(here: House, fault: Fault, *, streamed: bool = False) -> LLMProviderError:
    here.server.faults.append(fault)
    with pytest.raises(LLMProviderError) as caught:
        await _answer(here.provider(), streamed)
    assert RIGHT_KEY not in caught.value.message
    assert here.name in caught.value.message
    assert len(here.server.asked) == 1, "an adapter never asks twice"
    return caught.value


@BOTH_WAYS
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LLMInvalidRequestError),
        (401, LLMAuthenticationError),
        (403, LLMAuthenticationError),
        (404, LLMModelNotFoundError),
        (413, LLMInvalidRequestError),
        (422, LLMInvalidRequestError),
        (429, LLMRateLimitError),
        (500, LLMServiceUnavailableError),
        (503, LLMServiceUnavailableError),
        (529, LLMServiceUnavailableError),
    ],
)
async def test_G1_each_status_is_told_as_what_it_means(
    here: House, status: int, kind: type[LLMProviderError], streamed: bool
) -> None:
    error = await _failure(here, Fault(status=status), streamed=streamed)
    assert type(error) is kind
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, 1.5),
        ({"Retry-After": "in 30 seconds, as a date"}, 10, 31),
        ({"Retry-After": "99999999"}, 86_400, 86_400),
        ({"Retry-After": "-5"}, None, None),
        ({"Retry-After": "soon"}, None, None),
        ({}, None, None),
    ],
)
async def test_G1_a_rate_limit_says_how_long_to_wait(
    here: House, headers: dict[str, str], least: float | None, most: float | None
) -> None:
    if "date" in headers.get("Retry-After", ""):
        headers = {"Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)}
    error = await _failure(here, Fault(status=429, headers=headers))
    assert isinstance(error, LLMRateLimitError)
    if least is None or most is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None
        assert least <= error.retry_after <= most


@pytest.mark.slow
@BOTH_WAYS
async def test_G1_a_slow_first_byte_ends_with_the_adapter_s_own_limit(here: House, streamed: bool) -> None:
    await _answer(here.provider(), streamed)  # what is loaded with the first call takes no part of the limit
    here.server.faults.append(Fault(wait_seconds=30))
    began = asyncio.get_running_loop().time()
    with pytest.raises(LLMServiceUnavailableError, match="in time"):
        await _answer(here.provider(timeout_seconds=0.3), streamed)
    assert asyncio.get_running_loop().time() - began < 10


@pytest.mark.parametrize("aborted", [True, False], ids=["connection gone", "as if it were all"])
@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_G1_a_stream_that_was_cut_is_never_a_shorter_answer(here: House, pieces: int, aborted: bool) -> None:
    error = await _failure(here, Fault(pieces=pieces, aborted=aborted), streamed=True)
    assert isinstance(error, LLMServiceUnavailableError)


@BOTH_WAYS
async def test_G1_an_answer_without_a_finish_reason_is_none(here: House, streamed: bool) -> None:
    here.server.faults.append(Fault(says=Says(text="hel", finish=None)))
    if here.name in ("openai", "ollama") and not streamed:
        # Its JSON is complete and some servers leave the reason out: nothing was cut off.
        assert (await _answer(here.provider(), streamed)).finish_reason == "stop"
        return
    with pytest.raises(LLMServiceUnavailableError):
        await _answer(here.provider(), streamed)


GARBAGE = {
    "no JSON": b"{]",
    "a page": b"<html><body>502 Bad Gateway</body></html>",
    "nothing": b"",
    "bytes": b"\x1b[2J\xff\xfe\x00\x9b31m{",
    "another shape": b'{"hello": ["world"]}',
    "a number": b"17",
    "a list": b"[]",
    "nulls": b'{"choices": null, "content": null, "output": null}',
    "empty choices": b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}',
}


@BOTH_WAYS
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
async def test_G5_an_answer_that_is_none_of_its_format_is_unavailable(here: House, body: bytes, streamed: bool) -> None:
    error = await _failure(here, Fault(body=body), streamed=streamed)
    assert isinstance(error, LLMServiceUnavailableError)
    assert error.message.isprintable()


@BOTH_WAYS
@pytest.mark.parametrize("status", [400, 429, 500])
async def test_G5_an_error_s_words_reach_nobody_as_they_are(here: House, status: int, streamed: bool) -> None:
    key = "" if here.name == "ollama" else RIGHT_KEY  # which it never got
    words = f"no \x1b[31m\u202e key {key} sk-abcdefghijklmnop " + "x" * 5000
    body, _ = here.server.wire.error(status, words)
    error = await _failure(here, Fault(status=status, body=body), streamed=streamed)
    assert error.message.isprintable()
    assert "sk-abc" not in error.message
    assert len(error.message) < 600


@BOTH_WAYS
async def test_an_empty_answer_is_an_answer(here: House, streamed: bool) -> None:
    here.server.faults.append(Fault(says=Says(text="")))
    response = await _answer(here.provider(), streamed)
    assert (response.content, response.tool_calls, response.finish_reason) == ("", (), "stop")


@BOTH_WAYS
@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_G1_an_answer_says_why_it_ended(here: House, finish: str, streamed: bool) -> None:
    here.server.faults.append(Fault(says=Says(text="hel", finish=finish)))  # type: ignore[arg-type]
    assert (await _answer(here.provider(), streamed)).finish_reason == finish


@BOTH_WAYS
async def test_G1_malformed_arguments_are_kept_as_the_model_wrote_them(here: House, streamed: bool) -> None:
    # Arguments are JSON objects there, except in a stream.
    streamed = streamed or here.name in ("anthropic", "bedrock")
    said = '{"where": "up'
    here.server.faults.append(Fault(says=Says(calls=(Call(name="look", arguments=said),), finish="tool_calls")))
    (call,) = (await _answer(here.provider(), streamed)).tool_calls
    assert (call.name, dict(call.arguments), call.malformed) == ("look", {}, said)


async def test_what_a_model_wrote_wrongly_can_be_told_to_it_again(here: House) -> None:
    here.server.faults.append(Fault(says=Says(text="ok")))
    wrong = Message(
        role="assistant",
        content="",
        tool_calls=(
            _call("a!", malformed="{oh"),
            _call("a!", where="down"),
        ),
    )
    results = (
        Message(role="tool", content="no JSON", tool_call_id="a!", is_error=True),
        Message(role="tool", content="", tool_call_id="a!"),
    )
    request = LLMRequest(messages=(*ASKED.messages, wrong, *results), tools=(LOOK,))
    assert (await here.provider().complete(request)).content == "ok"


@BOTH_WAYS
async def test_G5_halves_of_characters_and_signs_for_terminals_harm_nobody(here: House, streamed: bool) -> None:
    told = "a\ud800b\x1b[31m\x00c"
    asked = LLMRequest(messages=(Message(role="system", content=told), Message(role="user", content=told)))
    here.server.faults.append(Fault(says=Says(text=told)))
    content = (await _answer(here.provider(), streamed, asked)).content
    assert content.encode() == "a\ufffdb\x1b[31m\x00c".encode()


async def test_cached_tokens_are_billed_tokens(here: House) -> None:
    here.server.faults.append(Fault(says=Says(text="hi", input_tokens=1000, cached_tokens=400, output_tokens=100)))
    response = await here.provider().complete(ASKED)
    assert (response.input_tokens, response.output_tokens) == (1000, 100)
    assert response.cost_usd == pytest.approx(1000 * 2e-6 + 100 * 10e-6)


async def test_without_a_count_from_the_server_tokens_are_estimated_and_said_so(here: House) -> None:
    here.server.faults.append(Fault(says=Says(text="hi there", input_tokens=0, output_tokens=0)))
    response = await here.provider().complete(ASKED)
    assert response.metadata["usage"] == "estimated"
    assert response.input_tokens > 0
    assert response.output_tokens > 0


@BOTH_WAYS
async def test_a_server_that_is_not_there_is_unavailable(here: House, streamed: bool) -> None:
    provider = here.provider(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(LLMServiceUnavailableError) as caught:
        await _answer(provider, streamed)
    assert "127.0.0.1:9" in caught.value.message


@pytest.mark.parametrize("name", ["anthropic", "ollama", "openai"])
async def test_who_no_longer_waits_hangs_up(name: str) -> None:
    async with house(name) as here:
        await here.provider().complete(ASKED)
        here.server.faults.append(Fault(wait_seconds=60))
        waiting = asyncio.create_task(here.provider().complete(ASKED))
        await wait_until(lambda: len(here.server.asked) == 2, "the request to arrive")
        waiting.cancel()
        await wait_until(lambda: here.server.hung_up == 1, "the connection to be closed")
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_connections_are_shared_by_the_providers_of_a_process() -> None:
    async with house("openai") as here:
        for _ in range(5):
            await here.provider().complete(ASKED)
        assert len(here.server.connections) == 1


async def test_several_providers_work_at_once() -> None:
    async with house("openai") as one, house("anthropic") as two, house("bedrock") as three, house("ollama") as four:
        houses = (one, two, three, four)
        said = await asyncio.gather(*(here.provider().complete(ASKED) for here in houses for _ in range(5)))
        assert {response.content for response in said} == {"You said: hello"}


async def test_an_exception_in_the_middle_of_a_stream_is_told_as_what_it_means() -> None:
    async with house("bedrock") as here:
        body = frame("throttlingException", {"message": "slow down"}, message_type="exception")
        error = await _failure(here, Fault(body=body), streamed=True)
        assert isinstance(error, LLMRateLimitError)
    async with house("anthropic") as here:
        body, _ = here.server.wire.error(529, "overloaded")
        error = await _failure(here, Fault(body=b"event: error\ndata: " + body + b"\n\n"), streamed=True)
        assert isinstance(error, LLMServiceUnavailableError)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("anthropic", "prompt is too long: 250000 tokens > 200000 maximum"),
        ("bedrock", "Input is too long for requested model."),
    ],
)
async def test_a_conversation_that_is_too_long_is_known_as_such(name: str, words: str) -> None:
    async with house(name) as here:
        body, headers = here.server.wire.error(400, words)
        error = await _failure(here, Fault(status=400, body=body, headers=headers))
        assert isinstance(error, LLMContextTooLongError)


def _call(call_id: str, *, malformed: str | None = None, **arguments: str) -> ToolCall:
    return ToolCall(id=call_id, name="look", arguments=arguments, malformed=malformed)
