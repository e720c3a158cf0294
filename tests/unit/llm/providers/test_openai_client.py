"""What the shortened client sends is what the SDK itself would send."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import APIConnectionError, APIError, APITimeoutError, AsyncOpenAI, BaseModel, omit

from callboard.llm.providers.openai_client import openai_client
from tests.support.http_server import Answer, Received, local_server

CALL: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "ä"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}],
    "tool_choice": "auto",
    "max_completion_tokens": 7,
    "temperature": omit,
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "extra_headers": {"User-Agent": "callboard"},
    "extra_body": None,
}


@pytest.mark.parametrize("stream", [False, True])
async def test_both_send_the_same(stream: bool) -> None:
    async def answer(_: Received) -> Answer:
        body = b"data: [DONE]\n\n" if stream else b'{"choices": []}'
        return Answer(body=body, headers={"Content-Type": "text/event-stream" if stream else "application/json"})

    async with local_server(answer) as server, httpx2.AsyncClient() as http:
        base_url = f"{server.url}/v1"
        ours = openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http)
        theirs = AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http)
        for client in (theirs, ours, ours, ours):
            response: Any = await client.chat.completions.create(**CALL, stream=stream)
            if stream:
                await response.close()
    expected = server.received[0]
    ignored = {"content-length", "x-stainless-read-timeout", "connection"}
    for sent in server.received[1:]:
        assert json.loads(sent.body) == json.loads(expected.body)
        assert {k: v for k, v in sent.headers.items() if k not in ignored} == {
            k: v for k, v in expected.headers.items() if k not in ignored
        }
        assert sent.path == expected.path == "/v1/chat/completions"


async def test_a_call_says_nothing_of_the_one_before() -> None:
    async def answer(_: Received) -> Answer:
        return Answer(body=b"{}", headers={"Content-Type": "application/json", "Set-Cookie": "who=me"})

    async with local_server(answer) as server, httpx2.AsyncClient() as http:
        client = openai_client(key="k", base_url=f"{server.url}/v1", timeout_seconds=5, http=http)
        for text in ("a", "ä" * 9, "c"):
            await client.chat.completions.create(model=text, messages=[], extra_headers={"X-Of": str(len(text))})
        await client.chat.completions.create(model="d", messages=[])
    assert [json.loads(sent.body)["model"] for sent in server.received] == ["a", "ä" * 9, "c", "d"]
    assert [int(sent.headers["content-length"]) for sent in server.received] == [
        len(sent.body) for sent in server.received
    ]
    assert [sent.headers.get("x-of") for sent in server.received] == ["1", "9", "1", None]
    assert [sent.headers.get("cookie") for sent in server.received] == [None] * 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 529])
async def test_both_tell_the_same_of_a_refusal(status: int, stream: bool) -> None:
    async def answer(_: Received) -> Answer:
        body = b'{"error": {"message": "no", "code": "because"}}'
        return Answer(status=status, body=body, headers={"Content-Type": "application/json", "Retry-After": "7"})

    async with local_server(answer) as server, httpx2.AsyncClient() as http:
        told = await _refusals(f"{server.url}/v1", http, stream=stream)
    assert told[0][0] is not APIConnectionError
    assert told == [told[0]] * 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("broken", [httpx2.ReadTimeout, httpx2.ConnectTimeout, httpx2.ConnectError, httpx2.ReadError])
async def test_both_tell_the_same_of_a_server_that_is_not_there(
    broken: type[httpx2.TransportError], stream: bool
) -> None:
    async def away(request: httpx2.Request) -> httpx2.Response:
        raise broken("away", request=request)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(away)) as http:
        told = await _refusals("http://127.0.0.1:1/v1", http, stream=stream)
    assert told == [told[0]] * 3
    assert told[0][0] is (APITimeoutError if issubclass(broken, httpx2.TimeoutException) else APIConnectionError)


async def _refusals(base_url: str, http: httpx2.AsyncClient, *, stream: bool) -> list[tuple[type, str, Any, Any]]:
    """Of the SDK's client, then of the first and the second call of ours."""
    theirs = AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http)
    ours = openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http)
    told = []
    for client in (theirs, ours, ours):
        with pytest.raises(APIError) as raised:
            await client.chat.completions.create(model="m", messages=[], stream=stream)
        error = raised.value
        response = getattr(error, "response", None)
        retry = None if response is None else response.headers.get("retry-after")
        told.append((type(error), str(error), error.body, retry))
    return told


MESSAGE = {"role": "assistant", "content": "ä", "reasoning_content": "hm"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop", "native": 1}
WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [CHOICE],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "more": {"x": [1]},
}
ODD = [
    {"choices": []},
    {**WHOLE, "created": None},
    {**WHOLE, "choices": [{**CHOICE, "finish_reason": "because"}]},
    {**WHOLE, "choices": None},
    ["no", "object"],
    "text",
    7,
]


@pytest.mark.parametrize("said", [WHOLE, *ODD], ids=lambda said: json.dumps(said)[:40])
async def test_both_make_the_same_of_an_answer(said: object) -> None:
    async def answer(_: Received) -> Answer:
        return Answer(body=json.dumps(said).encode(), headers={"Content-Type": "application/json"})

    async with local_server(answer) as server, httpx2.AsyncClient() as http:
        base_url = f"{server.url}/v1"
        shortened = openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http)
        answers = [await shortened.chat.completions.create(model="m", messages=[]) for _ in range(2)]
        client = AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http)
        theirs = await client.chat.completions.create(model="m", messages=[])
    for ours in answers:
        assert type(ours) is type(theirs)
        assert ours == theirs
        if isinstance(theirs, BaseModel):
            assert repr(ours) == repr(theirs)
            assert ours.to_dict() == theirs.to_dict()


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_both_take_a_text_alike(kind: str) -> None:
    async def answer(_: Received) -> Answer:
        return Answer(body=b"no JSON", headers={"Content-Type": kind})

    async with local_server(answer) as server, httpx2.AsyncClient() as http:
        base_url = f"{server.url}/v1"
        ours = openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http)
        theirs = AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http)
        made: list[object] = []
        for client in (theirs, ours, ours):
            try:
                made.append(await client.chat.completions.create(model="m", messages=[]))
            except ValueError as error:
                made.append(str(error))
    assert made == [made[0]] * 3


async def test_both_make_the_same_of_the_pieces_of_one() -> None:
    pieces: list[dict[str, Any]] = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        for choice in (
            {"index": 0, "delta": {"role": "assistant", "content": "", "reasoning": "hm"}, "finish_reason": None},
            {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}},
            {"index": 0, "delta": {}, "finish_reason": "because"},
        )
    ]
    body = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"

    async def answer(_: Received) -> Answer:
        return Answer(body=body, headers={"Content-Type": "text/event-stream"})

    async with local_server(answer) as server, httpx2.AsyncClient() as http:
        base_url = f"{server.url}/v1"
        made: list[list[Any]] = []
        ours = openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http)
        theirs = AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http)
        for client in (theirs, ours, ours):
            stream: Any = await client.chat.completions.create(model="m", messages=[], stream=True)
            made.append([chunk async for chunk in stream])
    assert len(made[0]) == len(pieces)
    for chunks in made[1:]:
        assert [repr(chunk) for chunk in chunks] == [repr(chunk) for chunk in made[0]]
        assert chunks == made[0]
