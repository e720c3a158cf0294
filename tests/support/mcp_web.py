"""An MCP server over streamable HTTP that does what servers must not; written from the protocol, not with its SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.slack_world import serve

NEWEST = "2026-07-28"


@dataclass(eq=False)
class McpWeb:
    """`tools` is its listing. With a `token` it wants that as a bearer; `redirect_to` sends every request there. A
    `modern` one knows no handshake and no sessions, only the newest version of the protocol."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    token: str | None = None
    redirect_to: str | None = None
    status: int | None = None
    modern: bool = False
    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    says: Callable[[dict[str, Any]], str] | None = None
    sessions: set[str] = field(default_factory=set)
    resumed_from: list[str] = field(default_factory=list)
    open_calls: int = 0
    listening: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _given: int = 0
    _owed: Any = None
    _version: str = ""

    @property
    def authority(self) -> str:
        return self.url.removeprefix("http://").removesuffix("/mcp")

    async def receive(self, request: Request) -> Response:
        self.requests.append(dict(request.headers))
        if self.redirect_to is not None:
            return RedirectResponse(self.redirect_to, status_code=307)
        if self.status is not None:
            return PlainTextResponse("not today", status_code=self.status)
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            return PlainTextResponse("who are you?", status_code=401)
        if request.method == "GET":
            return self._resume(request)
        if request.method == "DELETE":
            return Response(status_code=204)
        return await self._answer(json.loads(await request.body()), request)

    def _resume(self, request: Request) -> Response:
        last = request.headers.get("last-event-id")
        if last is None:
            return StreamingResponse(self._news(), media_type="text/event-stream")
        self.resumed_from.append(last)
        return StreamingResponse(iter([f"id: 2\ndata: {json.dumps(self._owed)}\n\n"]), media_type="text/event-stream")

    async def _news(self) -> AsyncIterator[str]:
        """The stream of the server's own messages: that its tools have changed, when `changed` is set."""
        self.listening += 1
        await self.changed.wait()
        yield f"data: {json.dumps({'jsonrpc': '2.0', 'method': 'notifications/tools/list_changed'})}\n\n"

    async def _answer(self, message: dict[str, Any], request: Request) -> Response:
        method, number = message["method"], message.get("id")
        if self.modern:
            return await self._modern(message, request)
        if method == "initialize":
            self._given += 1
            self.sessions.add(f"session-{self._given}")
            version = self._version = message["params"]["protocolVersion"]
            server = {"name": "web", "version": "1"}
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
            answer = JSONResponse({"jsonrpc": "2.0", "id": number, "result": result})
            answer.headers["mcp-session-id"] = f"session-{self._given}"
            return answer
        if request.headers.get("mcp-session-id") not in self.sessions:
            return JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "?"}}, 404)
        assert request.headers.getlist("mcp-protocol-version") == [self._version]
        if number is None:
            return Response(status_code=202)
        if method == "tools/list":
            return _result(number, {"tools": self.tools})
        if method == "tools/call":
            self.calls.append(message["params"]["name"])
            self.heard.append(json.dumps(message["params"], ensure_ascii=False))
            if self.says is not None:
                said = self.says(message["params"].get("arguments") or {})
                return _result(number, {"content": [{"type": "text", "text": said}]})
            return await self._call(number, message["params"]["name"], request)
        return JSONResponse({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no such method"}})

    async def _modern(self, message: dict[str, Any], request: Request) -> Response:
        method, number = message["method"], message.get("id")
        stamps = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if request.headers.get("mcp-protocol-version") != NEWEST or method == "initialize":
            error = {"code": -32022, "message": "too old", "data": {"supported": [NEWEST], "requested": "?"}}
            return JSONResponse({"jsonrpc": "2.0", "id": number, "error": error}, status_code=400)
        if method == "server/discover":
            return _result(number, {"supportedVersions": [NEWEST], "capabilities": {"tools": {}}, **stamps})
        if method == "tools/list":
            return _result(number, {"tools": self.tools, **stamps})
        assert request.headers["mcp-name"] == message["params"]["name"]
        self.calls.append(message["params"]["name"])
        said = {"content": [{"type": "text", "text": f"{self.calls[-1]} done"}], "resultType": "complete"}
        return _result(number, said)

    async def _call(self, number: int, name: str, request: Request) -> Response:
        said = {"content": [{"type": "text", "text": f"{name} done"}]}
        match name:
            case "hang":
                self.open_calls += 1
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                self.open_calls -= 1
            case "flood":
                return StreamingResponse(_flood(), media_type="application/json")
            case "flood_events":
                return StreamingResponse(_flood_events(), media_type="text/event-stream")
            case "break":
                return StreamingResponse(_broken(), media_type="application/json", headers={"content-length": "1000"})
            case "resume":
                self._owed = {"jsonrpc": "2.0", "id": number, "result": said}
                return StreamingResponse(iter(["retry: 10\nid: 1\ndata:\n\n"]), media_type="text/event-stream")
        return _result(number, said)


def _result(number: Any, result: dict[str, Any]) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result})


async def _flood() -> AsyncIterator[bytes]:
    yield b'{"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "'
    for _ in range(50):
        yield b"x" * 1024 * 1024


async def _flood_events() -> AsyncIterator[bytes]:
    yield b"id: 1\ndata: "
    for _ in range(50):
        yield b"x" * 1024 * 1024


async def _broken() -> AsyncIterator[bytes]:
    yield b'{"jsonrpc": "2.0", '
    raise ConnectionResetError


@contextlib.asynccontextmanager
async def mcp_web(*tools: dict[str, Any], **more: Any) -> AsyncIterator[McpWeb]:
    """Listens on a free port of this machine; its endpoint is `/mcp`."""
    server = McpWeb(tools=list(tools), **more)
    routes = [Route("/mcp", server.receive, methods=["GET", "POST", "DELETE"])]
    async with serve(Starlette(routes=routes)) as url:
        server.url = f"{url}/mcp"
        yield server
