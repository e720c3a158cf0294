"""`http_get` and `http_post`: text from the web and to it, never from or to the network behind Callboard."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import urljoin

from pydantic import JsonValue

from callboard.agents.tools.http_options import HttpOptions
from callboard.agents.tools.http_text import body_text
from callboard.agents.tools.pinned_client import HttpAnswer, HttpOrder, PinnedClient
from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.resolver import Resolver
from callboard.agents.tools.safe_url import MAX_URL_CHARS, Target, UrlPolicy, check_url
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.agents.tools.tool_options import read_options
from callboard.ids import derive_id
from callboard.logs import current_trace
from callboard.tracing import format_traceparent

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_IMPLEMENTED = 501
_GRACE_SECONDS = 2.0
_URL: dict[str, JsonValue] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_URL_CHARS,
    "description": "An absolute https URL",
}


class HttpTools:
    """Makes both tools for any agent. `permitted` and `http` are settings of the process, see UrlPolicy."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        permitted: frozenset[str] = frozenset(),
        http: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver = resolver
        self._permitted = permitted
        self._http = http
        self._given_tls = tls

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"http_get": self._get, "http_post": self._post}

    def client(self, *, max_bytes: int) -> PinnedClient:
        """For another tool that goes out under the same rules."""
        return PinnedClient(self._resolver, lambda: self._tls, max_bytes=max_bytes)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Reading the machine's certificates takes tens of milliseconds: once, and only if https is used at all.
        return self._given_tls or ssl.create_default_context()

    def _get(self, options: ToolOptions) -> Tool:
        return HttpGet(*self._parts(options))

    def _post(self, options: ToolOptions) -> Tool:
        return HttpPost(*self._parts(options))

    def _parts(self, options: ToolOptions) -> tuple[PinnedClient, UrlPolicy, HttpOptions]:
        chosen = read_options("HTTP tool", HttpOptions, options)
        policy = UrlPolicy(permitted=self._permitted, allow=chosen.allow, http=self._http)
        return self.client(max_bytes=chosen.max_bytes), policy, chosen


class _HttpTool:
    """What both have in common: options, the time limit and the headers."""

    def __init__(self, client: PinnedClient, policy: UrlPolicy, options: HttpOptions) -> None:
        self._client = client
        self._policy = policy
        self._options = options

    @property
    def timeout_seconds(self) -> float:
        # The tool's own limit knows whether the request had gone out, so the engine's comes after it.
        return self._options.timeout_seconds + _GRACE_SECONDS

    def _headers(self, context: ToolContext) -> dict[str, str]:
        headers = {"User-Agent": "callboard", "Accept": "*/*", **self._options.headers}
        trace_id = current_trace()
        if trace_id:
            headers["traceparent"] = format_traceparent(trace_id, derive_id(context.idempotency_key)[:16])
        return headers


class HttpGet(_HttpTool):
    """Reads a page; follows redirects, each checked as if it were asked for."""

    name = "http_get"
    description = "Read a web page or an API by its https URL. The answer is the body as text."
    parameters: Mapping[str, JsonValue] = {
        "type": "object",
        "properties": {"url": _URL},
        "required": ["url"],
        "additionalProperties": False,
    }
    idempotent = True
    traits = ToolTraits(reads_untrusted=True, links=True)

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                answer = await self._follow(str(arguments["url"]), self._headers(context))
        except TimeoutError:
            raise ToolError(f"no complete answer within {self._options.timeout_seconds:g} s") from None
        if answer.status >= 400:
            raise ToolError(f"HTTP status {answer.status}: {body_text(answer)[:500]}")
        return body_text(answer)

    async def _follow(self, url: str, headers: dict[str, str]) -> HttpAnswer:
        first: Target | None = None
        for _ in range(MAX_REDIRECTS + 1):
            target = check_url(url, self._policy)
            first = first or target
            if (target.scheme, target.authority) != (first.scheme, first.authority):
                # What was configured for one host must not reach another that the first one names.
                headers = {name: value for name, value in headers.items() if name not in self._options.headers}
            answer = await self._client.send(HttpOrder(method="GET", target=target, headers=headers), self._policy)
            if answer.status not in _REDIRECTS or answer.location is None:
                return answer
            url = urljoin(target.url, answer.location)
        raise ToolError(f"more than {MAX_REDIRECTS} redirects")


class HttpPost(_HttpTool):
    """Sends once. Follows no redirect: where the first server points is told to the model instead."""

    name = "http_post"
    description = "Send data to a web address by https POST: an object or list as JSON, a string as plain text."
    parameters: Mapping[str, JsonValue] = {
        "type": "object",
        "properties": {"url": _URL, "body": {"type": ["object", "array", "string"]}},
        "required": ["url", "body"],
        "additionalProperties": False,
    }
    idempotent = False
    traits = ToolTraits(reads_untrusted=True, sends_out=True)

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        target = check_url(str(arguments["url"]), self._policy)
        body = arguments["body"]
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        headers = {
            **self._headers(context),
            "Content-Type": "text/plain; charset=utf-8" if isinstance(body, str) else "application/json",
            "Idempotency-Key": context.idempotency_key,
        }
        order = HttpOrder(method="POST", target=target, headers=headers, body=text.encode("utf-8", "replace"))
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                answer = await self._client.send(order, self._policy)
        except TimeoutError:
            raise ToolError(
                f"no complete answer within {self._options.timeout_seconds:g} s", outcome_unknown=True
            ) from None
        if answer.status >= 400:
            # A server that refuses (4xx), or knows no such request (501), has done nothing; one that broke may have.
            unknown = answer.status >= 500 and answer.status != _NOT_IMPLEMENTED
            raise ToolError(f"HTTP status {answer.status}: {body_text(answer)[:500]}", outcome_unknown=unknown)
        if answer.status in _REDIRECTS:
            return f"[HTTP status {answer.status}, points to {answer.location}; not followed]"
        return body_text(answer)
