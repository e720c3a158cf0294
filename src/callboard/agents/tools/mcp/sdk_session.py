"""Connections to MCP servers over the protocol's own SDK: the one place, with `sdk_stdio`, that knows it.

Loaded when the first server is used: the SDK takes most of a second and 55 MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import anyio
import httpx2
from mcp.client.session import ClientSession, IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    ToolListChangedNotification,
)
from pydantic import JsonValue

from callboard.agents.tools.mcp.command_policy import CommandPolicy
from callboard.agents.tools.mcp.pinned_transport import FAULT_CODES, PinnedTransport
from callboard.agents.tools.mcp.sdk_stdio import stdio_streams
from callboard.agents.tools.mcp.server_process import ServerProcess, server_process
from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.session import MAX_MESSAGE_BYTES, FaultKind, McpFault, McpSession
from callboard.agents.tools.resolver import Resolver
from callboard.agents.tools.safe_url import UrlPolicy
from callboard.agents.tools.tool import ToolError
from callboard.clock import Clock

MAX_PAGES = 50
MAX_TOOLS = 1000
_UNKNOWN_OUTCOME = frozenset({CONNECTION_CLOSED, PARSE_ERROR, INTERNAL_ERROR})


class SdkConnector:
    """An `OpenSession`: connects by HTTP to what the URL policy allows, starts what the command policy allows."""

    def __init__(
        self,
        *,
        urls: UrlPolicy,
        commands: CommandPolicy,
        resolver: Resolver,
        tls: Callable[[], ssl.SSLContext],
        clock: Clock,
    ) -> None:
        self._urls = urls
        self._commands = commands
        self._resolver = resolver
        self._tls = tls
        self._clock = clock

    def __call__(
        self, settings: McpServerSettings, on_changed: Callable[[], None]
    ) -> AbstractAsyncContextManager[McpSession]:
        return self._by_command(settings, on_changed) if settings.url is None else self._by_url(settings, on_changed)

    @contextlib.asynccontextmanager
    async def _by_command(
        self, settings: McpServerSettings, on_changed: Callable[[], None]
    ) -> AsyncIterator[McpSession]:
        program = self._commands.program(settings.command[0])
        env = self._commands.environment(settings.env)
        gone = anyio.Event()
        async with (
            server_process(program, settings.command[1:], env) as process,
            stdio_streams(process, gone) as (read, write),
        ):
            dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(read, write)
            async with _session(dispatcher, on_changed) as session:
                connection = _Connection(session, dispatcher, gone, process)
                await connection.shake_hands()
                yield connection

    @contextlib.asynccontextmanager
    async def _by_url(self, settings: McpServerSettings, on_changed: Callable[[], None]) -> AsyncIterator[McpSession]:
        url = str(settings.url)
        try:
            transport = PinnedTransport(
                url, self._urls, self._resolver, self._tls, self._clock, timeout_seconds=settings.timeout_seconds
            )
        except ToolError as error:
            raise McpFault(f"cannot be used: {error.message}", FaultKind.UNSENT) from None
        headers = {"User-Agent": "callboard", **settings.headers}
        async with (
            httpx2.AsyncClient(transport=transport, headers=headers, trust_env=False, timeout=None) as client,
            streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES) as (read, write),
        ):
            dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(read, write)
            async with _session(dispatcher, on_changed) as session:
                connection = _Connection(session, dispatcher, anyio.Event(), None)
                await connection.shake_hands()
                yield connection


def _session(dispatcher: JSONRPCDispatcher[Any], on_changed: Callable[[], None]) -> ClientSession:
    async def heard(message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            on_changed()

    return ClientSession(
        dispatcher=dispatcher, message_handler=heard, client_info=Implementation(name="callboard", version="1")
    )


class _Connection:
    """A session as the port wants it. Nothing of what the server says is validated by the SDK where that can be had:
    one bad entry would cost the whole listing, and its schemas would be run over results."""

    def __init__(
        self,
        session: ClientSession,
        dispatcher: JSONRPCDispatcher[Any],
        gone: anyio.Event,
        process: ServerProcess | None,
    ) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._gone = gone
        self._process = process

    async def shake_hands(self) -> None:
        """By the handshake that every server of today speaks, else as the newest ones want it."""
        try:
            await self._session.initialize()
        except MCPError as error:
            if error.code not in (UNSUPPORTED_PROTOCOL_VERSION, METHOD_NOT_FOUND):
                raise await self._fault(error, 0.0) from None
            try:
                await self._session.discover()
            except (MCPError, RuntimeError, ValueError):
                raise McpFault(f"speaks no version of the protocol that we do: {error}", FaultKind.UNSENT) from None
        except (RuntimeError, ValueError) as error:
            raise McpFault(f"answered the handshake with what is none: {_brief(error)}", FaultKind.UNSENT) from None

    @property
    def _modern(self) -> bool:
        return self._session.initialize_result is None

    async def list_tools(self, timeout_seconds: float) -> Sequence[JsonValue]:
        found: list[JsonValue] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._exchange("tools/list", _page(cursor), timeout_seconds)
            entries = page.get("tools")
            found += entries if isinstance(entries, list) else []
            following = page.get("nextCursor")
            if not isinstance(following, str) or len(found) >= MAX_TOOLS:
                break
            cursor = following
        return found[:MAX_TOOLS]

    async def call_tool(
        self, name: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, JsonValue], timeout_seconds: float
    ) -> Mapping[str, JsonValue]:
        params: dict[str, JsonValue] = {"name": name, "arguments": dict(arguments), "_meta": dict(meta)}
        return await self._exchange("tools/call", params, timeout_seconds)

    async def ended(self) -> str:
        if self._process is None:
            await asyncio.Event().wait()  # a URL is asked anew each time
        await self._gone.wait()
        return await self._process.reason() if self._process else ""

    async def _exchange(
        self, method: str, params: dict[str, JsonValue], timeout_seconds: float
    ) -> Mapping[str, JsonValue]:
        try:
            if self._modern:
                return await self._by_sdk(method, params, timeout_seconds)
            version = self._session.protocol_version
            headers = {} if version is None else {MCP_PROTOCOL_VERSION_HEADER: version}
            return await self._dispatcher.send_raw_request(
                method, params, {"timeout": timeout_seconds, "headers": headers}
            )
        except MCPError as error:
            raise await self._fault(error, timeout_seconds) from None
        except (RuntimeError, ValueError) as error:
            raise McpFault(f"answered with what the protocol does not know: {_brief(error)}", FaultKind.LOST) from None

    async def _by_sdk(
        self, method: str, params: dict[str, JsonValue], timeout_seconds: float
    ) -> Mapping[str, JsonValue]:
        """Newer versions stamp each request in ways that only the SDK's session knows."""
        result: ListToolsResult | CallToolResult
        if method == "tools/list":
            cursor = cast("str | None", params.get("cursor"))
            wanted = ListToolsRequest(params=PaginatedRequestParams(cursor=cursor))
            result = await self._session.send_request(wanted, ListToolsResult, timeout_seconds)
        else:
            call = CallToolRequest(params=CallToolRequestParams.model_validate(params, by_name=False))
            result = await self._session.send_request(call, CallToolResult, timeout_seconds)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def _fault(self, error: MCPError, timeout_seconds: float) -> McpFault:
        """What an error of the protocol says about the request."""
        if error.code in FAULT_CODES:
            return McpFault(error.message, FAULT_CODES[error.code])
        if error.code == REQUEST_TIMEOUT:
            return McpFault(f"did not answer within {timeout_seconds:g} s", FaultKind.TIMED_OUT)
        if error.code == CONNECTION_CLOSED and self._gone.is_set() and self._process is not None:
            return McpFault(await self._process.reason(), FaultKind.LOST)
        kind = FaultKind.LOST if error.code in _UNKNOWN_OUTCOME else FaultKind.REFUSED
        return McpFault(f"answered with an error: {error.message[:1000]}", kind)


def _page(cursor: str | None) -> dict[str, JsonValue]:
    return {} if cursor is None else {"cursor": cursor}


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
