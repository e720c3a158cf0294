"""A model server on 127.0.0.1 that speaks one wire format and fails as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.model_servers.wire import Asked, Call, Fault, Says, Wire

RIGHT_KEY = "right-key-4711"
MODEL = "good-model"


@dataclass
class ModelServer:
    """`faults` happen to the next requests in turn; `asked` is what was understood; `hung_up` counts who left early.

    By itself it calls the tool `look` when told to "use the tool", says what it saw, reports 500 when told to "break",
    and says back everything else.
    """

    wire: Wire
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked_for_version: int = 0
    counts_tokens: int | None = None
    hung_up: int = 0
    connections: set[object] = field(default_factory=set)
    checks_key: bool = False
    says: Callable[[Asked], Says] | None = None
    """Thinks in the place of what it does by itself."""
    pause_seconds: float = 0.0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        self.headers.append({name.title(): value for name, value in request.headers.items()})
        asked = self.wire.asked(request.path, json.loads(await request.read()))
        self.asked.append(asked)
        fault = self.faults.pop(0) if self.faults else self._own_fault(request, asked)
        try:
            await asyncio.sleep(fault.wait_seconds or self.pause_seconds)
            return await self._carry_out(request, asked, fault)
        except (asyncio.CancelledError, ConnectionResetError):
            self.hung_up += 1
            raise

    async def version(self, request: web.Request) -> web.Response:
        self.asked_for_version += 1
        return web.json_response({"version": "0.12.0"})

    async def count_tokens(self, request: web.Request) -> web.Response:
        await request.read()
        if self.counts_tokens is None:
            return web.json_response({"type": "error", "error": {"type": "api_error", "message": "no"}}, status=500)
        return web.json_response({"input_tokens": self.counts_tokens})

    def _own_fault(self, request: web.Request, asked: Asked) -> Fault:
        if self.checks_key and RIGHT_KEY not in request.headers.get(self.wire.key_header, ""):
            return Fault(status=401)
        if asked.model != MODEL:
            return Fault(status=404)
        return Fault(status=500) if asked.text == "break" else Fault()

    async def _carry_out(self, request: web.Request, asked: Asked, fault: Fault) -> web.StreamResponse:
        if fault.status is not None or (fault.body is not None and not asked.stream):
            status = fault.status or 200
            body, headers = self.wire.error(status, f"the server says {status}")
            return web.Response(
                status=status,
                body=body if fault.body is None else fault.body,
                headers={"Content-Type": "application/json", **headers, **fault.headers},
            )
        says = fault.says or (self.says or _says)(asked)
        if not asked.stream:
            return web.Response(body=self.wire.whole(asked, says), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": self.wire.stream_type})
        await response.prepare(request)
        pieces = self.wire.pieces(asked, says) if fault.body is None else [fault.body]
        for piece in pieces[: fault.pieces]:
            await response.write(piece)
            await asyncio.sleep(0)
        if fault.aborted and request.transport is not None:
            request.transport.abort()
        return response


@contextlib.asynccontextmanager
async def model_server(wire: Wire) -> AsyncIterator[ModelServer]:
    """On a free port until the block ends."""
    server = ModelServer(wire)
    app = web.Application()
    app.router.add_post(wire.path, server.respond)
    app.router.add_post("/v1/messages/count_tokens", server.count_tokens)
    app.router.add_get("/api/version", server.version)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def _says(asked: Asked) -> Says:
    if asked.result is not None:
        return Says(text=f"I saw {asked.result}")
    if asked.text == "use the tool":
        return Says(calls=(Call(name="look", arguments='{"where": "up"}'),), finish="tool_calls")
    return Says(text=f"You said: {asked.text}")
