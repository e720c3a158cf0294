"""A real HTTP server on 127.0.0.1 for tests: answers as told and keeps what it was asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server says."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Responder = Callable[[Received], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class LocalServer:
    """The address without a slash at its end, and every request so far, in order."""

    url: str
    received: list[Received]


@contextlib.asynccontextmanager
async def local_server(respond: Responder) -> AsyncIterator[LocalServer]:
    """A server on a free port that answers every request by `respond`, until the block ends."""
    received: list[Received] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        got = Received(
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        received.append(got)
        answer = await respond(got)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield LocalServer(f"http://127.0.0.1:{runner.addresses[0][1]}", received)
    finally:
        await runner.cleanup()
