"""The local Slack: a real HTTP server with the part of Slack's Web API that Callboard uses.

It ships for trying things out and for tests without an account: it keeps every call and every message, and can be told
to fail the way Slack fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from callboard.clock import Clock, SystemClock
from callboard.integrations.slack_local_limits import SlackRefusal
from callboard.integrations.slack_local_workspace import LocalMessage, LocalWorkspace

RESPONSE_URL = "response_url"
"""The name under which messages to response URLs are recorded and made to fail."""

UPLOAD = "upload"
"""The name under which the bytes of files are recorded (their number, never they themselves) and made to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How one call goes wrong. `effective` says that it did what it was asked before that.

    limit: 429 with `retry_after`. status: that HTTP `status`. error: `ok: false` with `code`. drop: the connection is
    closed in the middle of the answer. hang: no answer until the client gives up.
    """

    kind: Literal["limit", "status", "error", "drop", "hang"]
    effective: bool = False
    retry_after: int = 1
    status: int = 500
    code: str = "fatal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One request that arrived, with what it asked for and the status it was answered with (0: not at all)."""

    method: str
    arguments: dict[str, Any]
    at: datetime
    status: int


class LocalSlack:
    """Runs while its context is entered; listens on loopback only unless told otherwise."""

    def __init__(
        self, *, clock: Clock | None = None, host: str = "127.0.0.1", port: int = 0, token: str | None = None
    ) -> None:
        """With `token`, other bot tokens are refused; `port` 0 takes a free one."""
        self._clock = clock or SystemClock()
        self._host = host
        self._port = port
        self._token = token
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._changed = asyncio.Event()
        self._server: _QuietServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.workspace = LocalWorkspace(clock=self._clock)
        self.calls: list[RecordedCall] = []

    @property
    def messages(self) -> list[LocalMessage]:
        """Everything that was posted and not deleted, in order."""
        return self.workspace.messages

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http://{self._host}:{self._port}"

    @property
    def api_url(self) -> str:
        """What `SLACK_API_URL` is to be set to."""
        return f"{self.url}/api/"

    def response_url(self, channel: str, user: str, *, message_ts: str | None = None) -> str:
        """A new response URL, as Slack hands one out with each command and click."""
        return f"{self.url}/response/{self.workspace.new_address(channel, user, message_ts=message_ts).token}"

    def fail(self, method: str, *faults: Fault) -> None:
        """The next calls of a method (or of `RESPONSE_URL`) go wrong in this order, one fault a call."""
        self._faults[method].extend(faults)

    def calls_of(self, method: str) -> list[RecordedCall]:
        """The calls of one method, in order."""
        return [call for call in self.calls if call.method == method]

    async def changed(self, within_seconds: float) -> bool:
        """Wait for the next call or message; False when there was none in that time."""
        self._changed.clear()
        try:
            async with asyncio.timeout(within_seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def __aenter__(self) -> Self:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self._host, self._port))
        self._port = listening.getsockname()[1]
        self.workspace.files.url = f"{self.url}/upload/v1"
        app = Starlette(
            routes=[
                Route("/api/{method}", self._api, methods=["POST", "GET"]),
                Route("/response/{token}", self._respond, methods=["POST"]),
                Route("/upload/v1/{token}", self._take, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._server = _QuietServer(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        await self._server.ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            await self._serving

    async def _api(self, request: Request) -> Response:
        method = request.path_params["method"]
        arguments = await _arguments(request)
        fault = self._next_fault(method)
        if fault is not None:
            return self._go_wrong(fault, method, arguments, lambda: self.workspace.call(method, arguments))
        if not self._authorized(request):
            return self._answer(method, arguments, {"ok": False, "error": "invalid_auth"})
        try:
            data = self.workspace.call(method, arguments)
        except SlackRefusal as refusal:
            return self._answer(method, arguments, {"ok": False, "error": refusal.code})
        return self._answer(method, arguments, {"ok": True, **data})

    async def _respond(self, request: Request) -> Response:
        token = request.path_params["token"]
        arguments = await _arguments(request)
        fault = self._next_fault(RESPONSE_URL)
        if fault is not None:
            return self._go_wrong(fault, RESPONSE_URL, arguments, lambda: self.workspace.respond(token, arguments))
        try:
            self.workspace.respond(token, arguments)
        except SlackRefusal as refusal:
            return self._answer(RESPONSE_URL, arguments, {"ok": False, "error": refusal.code}, status=404)
        self._record(RESPONSE_URL, arguments, 200)
        return PlainTextResponse("ok")

    async def _take(self, request: Request) -> Response:
        token, body = request.path_params["token"], await request.body()
        arguments = {"bytes": len(body), "authorization": request.headers.get("authorization")}
        fault = self._next_fault(UPLOAD)
        if fault is not None:
            return self._go_wrong(fault, UPLOAD, arguments, lambda: self.workspace.files.take(token, body))
        try:
            self.workspace.files.take(token, body)
        except SlackRefusal as refusal:
            self._record(UPLOAD, arguments, 400)
            return PlainTextResponse(refusal.code, status_code=400)
        self._record(UPLOAD, arguments, 200)
        return PlainTextResponse(f"OK - {len(body)}")

    def _go_wrong(self, fault: Fault, method: str, arguments: dict[str, Any], effect: Any) -> Response:
        if fault.effective:
            effect()
        match fault.kind:
            case "limit":
                self._record(method, arguments, 429)
                body = {"ok": False, "error": "ratelimited"}
                return JSONResponse(body, status_code=429, headers={"retry-after": str(fault.retry_after)})
            case "status":
                self._record(method, arguments, fault.status)
                return PlainTextResponse("upstream error", status_code=fault.status)
            case "error":
                return self._answer(method, arguments, {"ok": False, "error": fault.code})
            case "drop" | "hang":
                self._record(method, arguments, 0)
                return _BrokenResponse(hang=fault.kind == "hang")

    def _answer(self, method: str, arguments: dict[str, Any], body: dict[str, Any], status: int = 200) -> Response:
        self._record(method, arguments, status)
        headers = {"x-oauth-scopes": ",".join(sorted(self.workspace.scopes))}
        return JSONResponse(body, status_code=status, headers=headers)

    def _record(self, method: str, arguments: dict[str, Any], status: int) -> None:
        self.calls.append(RecordedCall(method=method, arguments=arguments, at=self._clock.now(), status=status))
        self._changed.set()

    def _next_fault(self, method: str) -> Fault | None:
        waiting = self._faults[method]
        return waiting.popleft() if waiting else None

    def _authorized(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return kind == "Bearer" and bool(token) and self._token in (None, token)


class _QuietServer(uvicorn.Server):
    """Inside somebody else's process, so signals stay with that process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BrokenResponse(Response):
    """An answer that never comes, or stops in the middle."""

    def __init__(self, *, hang: bool) -> None:
        super().__init__()
        self._hang = hang

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hang:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"ok":', "more_body": True})


async def _arguments(request: Request) -> dict[str, Any]:
    """From JSON or a form, as Slack takes both; JSON inside a form's field (blocks, view) stays a text."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        value = orjson.loads(body)
        return value if isinstance(value, dict) else {}
    return {**dict(request.query_params), **dict(parse_qsl(body.decode(), keep_blank_values=True))}
