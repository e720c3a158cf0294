"""A connection that is given up before the broker has greeted it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from callboard.clock import SystemClock
from callboard.ids import RandomIds
from callboard.messaging.rabbitmq.link import Link
from callboard.messaging.rabbitmq.wire import Wire


async def never(_: Wire) -> None:
    raise AssertionError("there is no connection that anything could be done with")


async def test_closing_amid_the_handshake_ends_at_once_and_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    greeted = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readexactly(8)).startswith(b"AMQP")
        greeted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    caplog.set_level(logging.INFO)
    link = Link(
        f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}/", SystemClock(), RandomIds(), "trial", session=never
    )
    async with asyncio.timeout(20), server:
        link.start()
        await greeted.wait()
        await link.close()
    assert caplog.records == []
