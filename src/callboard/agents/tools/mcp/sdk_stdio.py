"""The streams that the SDK's session speaks over, for a server that is a process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, jsonrpc_message_adapter

from callboard.agents.tools.mcp.server_process import ServerProcess
from callboard.agents.tools.mcp.session import MAX_MESSAGE_BYTES

MAX_UNASKED_BYTES = 4 * MAX_MESSAGE_BYTES
"""What a server may say between two answers: notifications, requests of its own, and what is no message at all."""

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@contextlib.asynccontextmanager
async def stdio_streams(server: ServerProcess, gone: anyio.Event) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """`gone` is set when nothing more comes from the server."""
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, server, incoming, gone)
        tasks.start_soon(_write, server, outgoing, incoming)
        try:
            yield read, write
        finally:
            tasks.cancel_scope.cancel()
            for stream in (read, write, incoming, outgoing):
                stream.close()


async def _read(
    server: ServerProcess, incoming: MemoryObjectSendStream[SessionMessage | Exception], gone: anyio.Event
) -> None:
    unasked = 0
    try:
        async with incoming:
            while (line := await server.read_line()) is not None:
                message = _message(line)
                asked = message is not None and not isinstance(message.message, JSONRPCRequest | JSONRPCNotification)
                unasked = 0 if asked else unasked + len(line)
                if unasked > MAX_UNASKED_BYTES:
                    server.why = f"sent more than {MAX_UNASKED_BYTES // 2**20} MiB unasked and was stopped"
                    return
                if message is not None:
                    await incoming.send(message)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the session is gone first
    finally:
        gone.set()


def _message(line: bytes) -> SessionMessage | None:
    """None for what is no message: some servers print to their output."""
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


async def _write(
    server: ServerProcess,
    outgoing: MemoryObjectReceiveStream[SessionMessage],
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    try:
        async with outgoing:
            async for message in outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await server.write_line(text.encode())
    except OSError:
        # It takes nothing more: whoever waits for an answer must learn that none comes.
        incoming.close()
