"""What the shortened client sends is what the SDK itself would send."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, omit

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
