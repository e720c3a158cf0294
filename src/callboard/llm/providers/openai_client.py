"""OpenAI's own client with what is slowest in a call left out.

The SDK walks every request against its type hints, although the model layer has built it in its final form already, and
every answer and every piece of one against its classes, where pydantic does the same fifty times as fast.
`tests/unit/llm/providers/test_openai_client.py` compares what is sent and what is made of an answer with what the SDK
would send and make.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import httpx2
from openai import AsyncOpenAI, AsyncStream, BaseModel, NotGiven, Omit
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import ValidationError

from callboard.llm.providers.connections import CONNECT_SECONDS

PLACEHOLDER_KEY = "no-key"
"""What a server that asks for no key is sent: the SDK insists on one."""
_OF_THE_CALL = {"extra_headers": "headers", "extra_query": "params", "extra_body": "extra_json", "timeout": "timeout"}


def openai_client(*, key: str | None, base_url: str, timeout_seconds: float, http: httpx2.AsyncClient) -> AsyncOpenAI:
    """Never retries; key and address are given, not looked up."""
    return _Client(
        api_key=key or PLACEHOLDER_KEY,
        base_url=base_url,
        max_retries=0,
        timeout=httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
        http_client=http,
    )


class _Client(AsyncOpenAI):
    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Completions(AsyncCompletions):
    async def create(self, **given: Any) -> Any:
        options: Any = {"security": {"bearer_auth": True}}
        body: dict[str, Any] = {}
        for name, value in given.items():
            if value is None or isinstance(value, Omit | NotGiven):
                continue
            if name in _OF_THE_CALL:
                options[_OF_THE_CALL[name]] = value
            else:
                body[name] = value
        return await self._post(
            "/chat/completions",
            body=body,
            options=options,
            cast_to=_Completion,
            stream=bool(body.get("stream")),
            stream_cls=AsyncStream[_Chunk],
        )


class _Completion(ChatCompletion):
    """The SDK asks a class that has `build` for what it is to make of an answer."""

    @classmethod
    def build(cls, *, response: httpx2.Response, data: Any) -> Any:
        return _built(ChatCompletion, data)


class _Chunk(ChatCompletionChunk):
    @classmethod
    def build(cls, *, response: httpx2.Response, data: Any) -> Any:
        return _built(ChatCompletionChunk, data)


def _built(made: type[BaseModel], data: Any) -> Any:
    """What does not fit is taken as it is, as the SDK takes everything: whoever uses it says what is wrong with it."""
    if not isinstance(data, dict):
        return data
    try:
        return made.model_validate(data)
    except ValidationError:
        return made.construct(**data)
