"""The world outside: a server that a tool posts to, which writes down every call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.support.slack_world import serve


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One request that had its effect."""

    key: str
    body: str
    traceparent: str


@dataclass(eq=False)
class ToolServer:
    """Its ledger is append-only; it does not know what it has seen before, so every repetition shows."""

    url: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    reads: int = 0
    pause_seconds: float = 0.0
    """Between the effect of a call and its answer."""
    under_way: list[ToolCall] = field(default_factory=list)
    """The calls that had their effect and no answer yet."""

    @property
    def authority(self) -> str:
        return self.url.removeprefix("http://")

    async def receive(self, request: Request) -> Response:
        body = (await request.body()).decode()
        headers = request.headers
        call = ToolCall(key=headers.get("idempotency-key", ""), body=body, traceparent=headers.get("traceparent", ""))
        self.calls.append(call)
        self.under_way.append(call)
        try:
            await asyncio.sleep(self.pause_seconds)
        finally:
            self.under_way.remove(call)
        return PlainTextResponse(f"noted {body}")

    async def show(self, _request: Request) -> Response:
        """A page that says how often it was read."""
        self.reads += 1
        return PlainTextResponse(f"page {self.reads}")


@contextlib.asynccontextmanager
async def tool_server() -> AsyncIterator[ToolServer]:
    """Listens on a free port of this machine."""
    server = ToolServer()
    routes = [Route("/calls", server.receive, methods=["POST"]), Route("/pages", server.show)]
    async with serve(Starlette(routes=routes)) as url:
        server.url = url
        yield server
