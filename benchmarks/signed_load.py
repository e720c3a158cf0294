"""Signed slash commands over 32 connections, each sending its next when the last is answered: who answers how soon.

What is sent is made and signed before the clock starts, and the client is a bare protocol on uvloop, so that the
generator is not what is measured; `capacity` says what it reaches against a server that does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from benchmarks.table import quantile
from callboard.integrations.slack_wire import Channel, Person, slash_command

CONNECTIONS = 32
OK = b"HTTP/1.1 200"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
AUTH_TEST = b'{"ok":true,"url":"http://127.0.0.1/","team":"local","team_id":"T0LOCAL","user":"bot","user_id":"U0BOT","bot_id":"B0BOT"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests a second, and seconds to an answer."""

    rate: float
    median: float
    p99: float


def requests(count: int, secret: str, first: int = 0) -> list[bytes]:
    """Commands as they go over the wire, each with a trigger id of its own, signed with one timestamp."""
    now = datetime.now(UTC)
    return [_request(number, secret, now) for number in range(first, first + count)]


async def run(port: int, made: Sequence[bytes]) -> Load:
    """Sends all of them; an answer other than 200 is an error."""
    left = list(reversed(made))
    took: list[float] = []
    loop = asyncio.get_running_loop()
    clients = [_Client(left, took, loop.create_future()) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    try:
        for client in clients:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*(client.done for client in clients))
        seconds = time.perf_counter() - began
    finally:
        await asyncio.gather(*(client.close() for client in clients))
    return Load(rate=len(took) / seconds, median=quantile(took, 0.5), p99=quantile(took, 0.99))


async def capacity(made: Sequence[bytes]) -> Load:
    """The generator against a server in this very process that answers 200 to every read: a floor of its capacity."""
    server = await asyncio.get_running_loop().create_server(lambda: Answering(b""), "127.0.0.1", 0)
    async with server:
        return await run(server.sockets[0].getsockname()[1], made)


class Answering(asyncio.Protocol):
    """Slack's side: a good answer to whatever comes, one a request without looking inside."""

    def __init__(self, body: bytes = AUTH_TEST) -> None:
        self._answer = ANSWER % (len(body), body)
        self._transport: asyncio.Transport | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (complete := _complete(self._held)) is not None:
            self._held = self._held[complete:]
            assert self._transport is not None
            self._transport.write(self._answer)


class _Client(asyncio.Protocol):
    """One connection that takes its next request from the common pile."""

    def __init__(self, left: list[bytes], took: list[float], done: asyncio.Future[None]) -> None:
        self._left = left
        self._took = took
        self.done = done
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._sent = 0.0
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if _complete(self._held) is None:
            return
        self._took.append(time.perf_counter() - self._sent)
        if not self._held.startswith(OK):
            self._fail(self._held[:300].decode(errors="replace"))
            return
        self._held = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self._fail(f"the connection was lost: {exc}")

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def _next(self) -> None:
        assert self._transport is not None
        if self._left:
            request = self._left.pop()
            self._sent = time.perf_counter()
            self._transport.write(request)
        elif not self.done.done():
            self.done.set_result(None)

    def _fail(self, what: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(what))
            self.done.exception()  # the first of several is told


def _complete(held: bytes) -> int | None:
    """The length of the first whole HTTP message, None while it is not whole."""
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = held[:end].lower()
    if b"transfer-encoding: chunked" in head:
        last = held.find(b"0\r\n\r\n", end)
        return None if last < 0 else last + 5
    at = head.find(b"content-length:")
    size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    whole = end + 4 + size
    return whole if len(held) >= whole else None


def _request(number: int, secret: str, now: datetime) -> bytes:
    command = slash_command(
        "/echo-0 hello",
        person=Person(),
        channel=Channel(),
        response_url="https://hooks.slack.com/commands/T0LOCAL/1/benchmark",
        trigger_id=f"trigger.{number}",
    )
    signed = command.signed(secret, now)
    headers = {**signed.headers, "host": "127.0.0.1", "content-length": str(len(signed.body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {signed.path} HTTP/1.1\r\n{head}\r\n".encode() + signed.body
