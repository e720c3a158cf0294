"""The port to one connection with an MCP server, and what goes over it as plain JSON.

What a server says is not believed to have any form: listings and results come as they were sent, and pure code
(`remote_tools`, `answers`) makes of them what can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol, TypeAlias

from pydantic import JsonValue

from callboard.agents.tools.mcp.server_settings import McpServerSettings

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""What one message of a server may have. A server that sends more is cut off while it sends."""


class FaultKind(StrEnum):
    """What a failed exchange says about the request."""

    UNSENT = "unsent"
    """It never left: nothing has happened."""
    REFUSED = "refused"
    """The server answered that it does not do that: nothing has happened."""
    FORGOTTEN = "forgotten"
    """The server does not know this connection any more (it was restarted): nothing has happened, connect anew."""
    TIMED_OUT = "timed_out"
    """No answer in time: it may have happened."""
    LOST = "lost"
    """The connection broke, or the answer cannot be read: it may have happened."""


class McpFault(Exception):  # noqa: N818  # a verdict on an exchange, told to models as a ToolError
    """`message` goes on after the server's name: "did not answer within 30 s"."""

    def __init__(self, message: str, kind: FaultKind) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind

    @property
    def may_have_happened(self) -> bool:
        return self.kind in (FaultKind.TIMED_OUT, FaultKind.LOST)


class McpSession(Protocol):
    """A connection over which the handshake has been made. Calls may be made concurrently; all raise McpFault."""

    async def list_tools(self, timeout_seconds: float) -> Sequence[JsonValue]:
        """Every entry of the server's listing, all pages (up to a limit), as they came."""
        ...

    async def call_tool(
        self, name: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, JsonValue], timeout_seconds: float
    ) -> Mapping[str, JsonValue]:
        """The result as it came; an answer within the time or a fault. Cancelling tells the server to stop."""
        ...

    async def ended(self) -> str:
        """Returns when the server is gone for good, with the reason in the form of a fault's message."""
        ...


OpenSession: TypeAlias = Callable[[McpServerSettings, Callable[[], None]], AbstractAsyncContextManager[McpSession]]
"""Connects (starting the process, where it is a command); calls back when the server says that its tools changed.

Entering raises McpFault. Leaving ends the server's process with all it started and waits a bounded time. Entered and
left by one task.
"""
