"""What the shortened client sends is what the SDK itself would send."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, BaseModel, omit

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
        for client in (ours, theirs):
            response: Any = await client.chat.completions.create(**CALL, stream=stream)
            if stream:
                await response.close()
    first, second = server.received
    assert json.loads(first.body) == json.loads(second.body)
    ignored = {"content-length", "x-stainless-read-timeout"}
    assert {k: v for k, v in first.headers.items() if k not in ignored} == {
        k: v for k, v in second.headers.items() if k not in ignored
    }
    assert first.path == second.path == "/v1/chat/completions"


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
        ours = await openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http).chat.completions.create(
            model="m", messages=[]
        )
        client = AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http)
        theirs = await client.chat.completions.create(model="m", messages=[])
    assert type(ours) is type(theirs)
    assert ours == theirs
    if isinstance(theirs, BaseModel):
        assert repr(ours) == repr(theirs)
        assert ours.to_dict() == theirs.to_dict()


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
        for client in (
            openai_client(key="k", base_url=base_url, timeout_seconds=5, http=http),
            AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http),
        ):
            stream: Any = await client.chat.completions.create(model="m", messages=[], stream=True)
            made.append([chunk async for chunk in stream])
    ours, theirs = made
    assert len(ours) == len(pieces)
    assert [repr(chunk) for chunk in ours] == [repr(chunk) for chunk in theirs]
    assert ours == theirs
