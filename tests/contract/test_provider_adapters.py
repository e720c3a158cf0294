"""What is particular to one adapter: keys and headers, counting, presence, the schema of an answer, limits."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import pytest
from pydantic import JsonValue

from callboard.clock import SystemClock
from callboard.errors import UnavailableError
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMModelNotFoundError,
    LLMProviderError,
    LLMServiceUnavailableError,
)
from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMChunk, LLMConfig, LLMRequest, Message, ToolSpec
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.llm.providers.access import ProviderAccess
from callboard.llm.providers.builders import ModelBuilders
from callboard.llm.providers.scripted import ScriptedProvider
from tests.support.model_servers.houses import WIRES, House, house
from tests.support.model_servers.server import MODEL, RIGHT_KEY
from tests.support.model_servers.wire import Fault

ASKED = LLMRequest(messages=(Message(role="system", content="Be brief."), Message(role="user", content="hello")))
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(params=sorted(WIRES))
async def here(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with house(request.param) as found:
        yield found


@pytest.mark.parametrize("name", ["anthropic", "openai"])
async def test_the_key_is_sent_where_such_servers_look_for_it(name: str) -> None:
    async with house(name) as here:
        here.server.checks_key = True
        assert (await here.provider().complete(ASKED)).content == "You said: hello"
    async with house(name, key="wrong-key-0815") as here:
        here.server.checks_key = True
        with pytest.raises(LLMAuthenticationError) as caught:
            await here.provider().complete(ASKED)
        assert f"{name.upper()}_API_KEY" in caught.value.message
        assert "wrong-key" not in caught.value.message


@pytest.mark.parametrize(("name", "path"), [("anthropic", ""), ("openai", "/v1")])
async def test_a_server_of_one_s_own_is_asked_without_a_key(name: str, path: str) -> None:
    async with house(name, key=None) as here:
        answer = await here.provider(base_url=here.server.url + path).complete(ASKED)
    assert answer.content == "You said: hello"
    assert "no-key" in here.server.headers[-1][here.server.wire.key_header]


async def test_a_model_that_does_not_exist_is_said_to_be_that(here: House) -> None:
    with pytest.raises(LLMModelNotFoundError, match=r"no-such-model.*llm_config\.model_id"):
        await here.provider(model_id="no-such-model").complete(ASKED)


async def test_every_request_names_its_limit_and_its_temperature(here: House) -> None:
    await here.provider(max_tokens=77, temperature=0.3).complete(ASKED)
    body = here.server.asked[-1].body
    limits = body.get("inferenceConfig", {}).get("maxTokens"), body.get("max_tokens"), body.get("max_completion_tokens")
    assert [limit for limit in limits if limit is not None] == [77]
    assert 0.3 in (body.get("temperature"), body.get("inferenceConfig", {}).get("temperature"))


async def test_tools_and_instructions_arrive_as_they_were_written(here: House) -> None:
    tool = ToolSpec(name="look", description="Looks ä.", parameters=SCHEMA)
    await here.provider().complete(LLMRequest(messages=ASKED.messages, tools=(tool,)))
    body = here.server.asked[-1].body
    told = repr(body)
    assert "Be brief." in told
    assert "Looks ä." in told
    assert "'city'" in told


async def test_a_schema_of_the_answer_is_sent_where_there_is_a_mode_for_it() -> None:
    request = LLMRequest(messages=ASKED.messages, output_schema=SCHEMA)
    for name in ("openai", "ollama"):
        async with house(name) as here:
            await here.provider().complete(request)
            wanted = here.server.asked[-1].body["response_format"]
            assert wanted["json_schema"]["schema"]["required"] == ["city"]
    for name in ("anthropic", "bedrock"):
        async with house(name) as here:
            assert (await here.provider().complete(request)).content == "You said: hello"


async def test_anthropic_s_server_counts_and_without_it_the_estimate_stands() -> None:
    async with house("anthropic") as here:
        here.server.counts_tokens = 4711
        assert await here.provider().count_tokens(ASKED.messages) == 4711
        here.server.counts_tokens = None
        provider = here.provider()
        assert await provider.count_tokens(ASKED.messages) == provider.estimate_tokens(ASKED.messages)
        assert await provider.count_tokens([]) == 0


async def test_ollama_is_looked_for_once_in_a_while() -> None:
    async with house("ollama") as here:
        provider = here.provider()
        for _ in range(3):
            await provider.complete(ASKED)
        assert here.server.asked_for_version == 1


async def test_where_ollama_is_not_it_is_said_how_to_start_it() -> None:
    async with house("ollama") as here:
        provider = here.provider(base_url="http://127.0.0.1:9")
        with pytest.raises(LLMServiceUnavailableError, match=r"not there at http://127\.0\.0\.1:9 .*`ollama serve`"):
            await provider.complete(ASKED)


async def test_bedrock_s_requests_are_signed_and_its_secret_stays_here() -> None:
    async with house("bedrock") as here:
        await here.provider().complete(ASKED)
        sent = here.server.headers[-1]
        assert sent["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIATEST/")
        assert RIGHT_KEY not in repr(sent)


def test_a_provider_without_its_key_cannot_be_made() -> None:
    access = ProviderAccess()
    models = ModelBuilders(access, PriceTable(), lambda text: text)
    factory = LLMProviderFactory(
        {**models.all(), "scripted": lambda config: ScriptedProvider(config, SystemClock())},
        unavailable=access.missing(),
    )
    assert factory.list_providers() == ["anthropic", "bedrock", "ollama", "openai", "scripted"]
    for name, variable in (("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY"), ("bedrock", "AWS_")):
        with pytest.raises(UnavailableError, match=variable) as caught:
            factory.create_provider(LLMConfig(provider=name, model_id="m"))
        assert caught.value.code == "provider_unavailable"
    assert factory.why_unavailable("ollama") is None


async def test_a_caller_that_stops_early_ends_the_stream(here: House) -> None:
    provider = here.provider()
    async with contextlib.aclosing(cast("AsyncGenerator[LLMChunk, None]", provider.stream(ASKED))) as chunks:
        assert (await anext(chunks)).text
    assert (await provider.complete(ASKED)).content == "You said: hello"


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_G5_a_thousand_answers_of_noise_are_a_thousand_known_errors(here: House, streamed: bool) -> None:
    noise = random.Random(20261121)  # noqa: S311
    provider = here.provider()
    told: list[str] = []
    for _ in range(125):
        here.server.faults.append(Fault(body=_garbage(noise)))
        try:
            if streamed:
                async for _chunk in provider.stream(ASKED):
                    pass
            else:
                (await provider.complete(ASKED)).content.encode()
        except LLMProviderError as error:
            told.append(error.message)
    assert len(told) > 100
    assert all(message.isprintable() and len(message) < 600 for message in told)


def _garbage(noise: random.Random) -> bytes:
    """Bytes, escapes, halves of JSON, and events whose data is any of that."""
    raw = noise.choice(
        [
            noise.randbytes(noise.randrange(1, 200)),
            b"\x1b[2J\x1b]0;owned\x07" + noise.randbytes(8),
            b'{"choices":[{"message":{"content":"' + noise.randbytes(20),
            b'{"choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"index":9}]},"finish_reason":"stop"}]}',
            b'{"content":[{"type":"text"}],"stop_reason":"end_turn"}',
            b'{"output":{"message":{}},"stopReason":"end_turn"}',
            base64.b64encode(noise.randbytes(60)),
            b"null",
            b"[" * 5000,
        ]
    )
    return noise.choice([raw, b"data: " + raw + b"\n\n", b"event: message_start\ndata: " + raw + b"\n\n"])


async def test_many_calls_at_once_share_what_they_need(here: House) -> None:
    provider = here.provider()
    said = await asyncio.gather(*(provider.complete(ASKED) for _ in range(60)))
    assert {response.model.removesuffix("-v1") for response in said} == {MODEL}
