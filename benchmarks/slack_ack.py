"""How soon Slack has its 200: signed slash commands over 32 connections, the server in a process of its own.

Each command is stored, worked on by an agent and answered to its `response_url`, which a sink in this process takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import uvloop
from tests.support.servers.ports import free_port

from benchmarks.bare_http import bare_server
from benchmarks.child import SECRET, callboard_up
from benchmarks.house import write_agents
from benchmarks.table import Row, quantile
from callboard.integrations.slack_wire import Channel, Person, slash_command

CONNECTIONS = 32
COMMANDS_A_SECOND = 50
"""180,000 an hour; every one of them is a whole run and a message to Slack, which this process has to carry too."""


def measure(folder: Path, *, seconds: float = 15.0) -> list[Row]:
    write_agents(folder / "agents", 1)
    commands = count()
    sink = {"SLACK_SIGNING_SECRET": SECRET, "SLACK_BOT_TOKEN": "xoxb-benchmark"}
    with bare_server() as port:
        bare = uvloop.run(_load(port, seconds / 3, COMMANDS_A_SECOND, commands, port))
    sink_port = free_port()
    with callboard_up(folder, {**sink, "SLACK_API_URL": f"http://127.0.0.1:{sink_port}/api/"}) as child:
        uvloop.run(_load(child.port, seconds / 5, COMMANDS_A_SECOND, commands, sink_port))
        paced = uvloop.run(_load(child.port, seconds, COMMANDS_A_SECOND, commands, sink_port))
        crowded = uvloop.run(_load(child.port, seconds / 3, None, commands, sink_port))
    return [
        Row(
            subject=f"Slack ack at 32 connections, {COMMANDS_A_SECOND} commands/s: p99",
            measured=quantile(paced, 0.99) * 1000,
            unit="ms",
            bound=50,
            peer=quantile(bare, 0.99) * 1000,
            peer_name="bare Starlette",
        ),
        Row(subject="… median", measured=quantile(paced, 0.5) * 1000, unit="ms"),
        Row(
            subject="Slack acks a second, 32 connections that never pause",
            measured=len(crowded) / (seconds / 3),
            unit="/s",
        ),
        Row(subject="… p99", measured=quantile(crowded, 0.99) * 1000, unit="ms"),
    ]


async def _load(
    port: int, seconds: float, a_second: float | None, commands: Iterator[int], sink_port: int
) -> list[float]:
    """Seconds of each ack; without a rate each connection sends its next request when the last is answered."""
    sink = await asyncio.start_server(_take_answer, "127.0.0.1", sink_port if sink_port != port else 0)
    took: list[float] = []
    end = time.monotonic() + seconds
    async with sink:
        clients = (_client(port, index, end, a_second, commands, sink_port, took) for index in range(CONNECTIONS))
        await asyncio.gather(*clients)
    return took


async def _client(
    port: int,
    index: int,
    end: float,
    a_second: float | None,
    commands: Iterator[int],
    sink_port: int,
    took: list[float],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    pause = 0.0 if a_second is None else CONNECTIONS / a_second
    due = time.monotonic() + pause * index / CONNECTIONS
    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        writer.write(_request(next(commands), sink_port))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n", 1)[0], head
        await reader.readexactly(_length(head))
        took.append(time.monotonic() - began)
        due = max(due + pause, time.monotonic() if a_second is None else 0.0)
    writer.close()


def _request(number: int, sink_port: int) -> bytes:
    command = slash_command(
        "/echo-0 hello",
        person=Person(),
        channel=Channel(),
        response_url=f"http://127.0.0.1:{sink_port}/commands/{number}",
        trigger_id=f"trigger.{number}",
    )
    signed = command.signed(SECRET, datetime.now(UTC))
    headers = {**signed.headers, "host": "127.0.0.1", "content-length": str(len(signed.body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {signed.path} HTTP/1.1\r\n{head}\r\n".encode() + signed.body


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)


async def _take_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Slack's side of a response URL."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}')
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()
