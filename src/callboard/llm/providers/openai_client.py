"""OpenAI's own client with what is slowest in a call left out.

The SDK walks every request against its type hints, although the model layer has built it in its final form already, and
every answer and every piece of one against its classes, where pydantic does the same fifty times as fast. It also makes
address and headers anew for each request, which are the same every time.
`tests/unit/llm/providers/test_openai_client.py` compares what is sent and what is made of an answer with what the SDK
would send and make.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import httpx2
from openai import APIConnectionError, APITimeoutError, AsyncOpenAI, AsyncStream, BaseModel, NotGiven, Omit
from openai._models import FinalRequestOptions, SecurityOptions
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import ValidationError

from callboard.llm.providers.connections import CONNECT_SECONDS

PLACEHOLDER_KEY = "no-key"
"""What a server that asks for no key is sent: the SDK insists on one."""
_PATH = "/chat/completions"
_SECURITY: SecurityOptions = {"bearer_auth": True}
_OF_ONE_REQUEST = ("Content-Length", "Cookie")
_ORDINARY = frozenset({"security", "headers"})
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
    """The first call, and any that asks for something special, goes the SDK's own way; all others are written on the
    head of a request that the SDK has built once."""

    _head: tuple[Mapping[str, str], httpx2.Request] | None = None

    async def create(self, **given: Any) -> Any:
        options: Any = {"security": _SECURITY}
        body: dict[str, Any] = {}
        for name, value in given.items():
            if value is None or isinstance(value, Omit | NotGiven):
                continue
            if name in _OF_THE_CALL:
                options[_OF_THE_CALL[name]] = value
            else:
                body[name] = value
        stream = bool(body.get("stream"))
        # Which platform this is, which each request names, is found out in a thread by the first call.
        if self._client._platform is None or options.keys() - _ORDINARY:
            return await self._post(
                _PATH,
                body=body,
                options=options,
                cast_to=_Completion,
                stream=stream,
                stream_cls=AsyncStream[_Chunk],
            )
        response = await self._sent(self._request(options.get("headers", {}), body), stream=stream)
        if stream:
            return AsyncStream[_Chunk](cast_to=_Chunk, response=response, client=self._client)
        return _whole(response)

    def _request(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> httpx2.Request:
        if self._head is None or self._head[0] != headers:
            asked = FinalRequestOptions.construct(
                method="post", url=_PATH, headers=headers, security=_SECURITY, json_data={}
            )
            built = self._client._build_request(asked)
            for name in _OF_ONE_REQUEST:
                built.headers.pop(name, None)
            self._head = dict(headers), built
        head = self._head[1]
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return httpx2.Request(head.method, head.url, headers=head.headers, content=content, extensions=head.extensions)

    async def _sent(self, request: httpx2.Request, *, stream: bool) -> httpx2.Response:
        """An answer that is none is told by the SDK's exceptions, which the model layer knows."""
        try:
            response = await self._client._client.send(request, stream=stream)
        except httpx2.TimeoutException as error:
            raise APITimeoutError(request=request) from error
        except (httpx2.RequestError, ssl.SSLError) as error:
            raise APIConnectionError(request=request) from error
        if not response.is_success:
            if not response.is_closed:
                await response.aread()
            raise self._client._make_status_error_from_response(response)
        return response


def _whole(response: httpx2.Response) -> Any:
    """JSON whatever the server calls it; a text that is none is an answer only where it is not called JSON."""
    try:
        data = response.json()
    except ValueError:
        if response.headers.get("content-type", "").partition(";")[0].endswith("json"):
            raise
        return response.text
    return _built(ChatCompletion, data)


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
