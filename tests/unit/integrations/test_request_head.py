"""A head that never ends costs neither memory nor a connection (RELIABILITY.md, A8)."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from callboard.integrations.body_limit import BodyLimit
from callboard.integrations.request_head import BoundedHttpProtocol
from tests.support.slack_world import serve


class Impatient(BoundedHttpProtocol):
    head_seconds = 0.2


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


def app() -> BodyLimit:
    routes = [Route("/", echo, methods=["GET", "POST"])]
    return BodyLimit(Starlette(routes=routes), limit_bytes=1000, within_seconds=0.2)


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def first_line(url: str, *pieces: bytes) -> bytes:
    """The status line that comes back after sending the pieces."""
    reader, writer = await connect(url)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    try:
        return (await asyncio.wait_for(reader.readline(), 30)).strip()
    finally:
        writer.close()


async def test_an_ordinary_request_passes_also_a_second_one_on_the_connection() -> None:
    async with serve(app()) as url:
        reader, writer = await connect(url)
        for body in (b"one", b"two"):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n" + body)
            answer = await asyncio.wait_for(reader.readuntil(body), 30)
            assert answer.startswith(b"HTTP/1.1 200")
        writer.close()


async def flood(url: str, megabytes: int) -> int:
    """How many megabytes of header could be sent before the connection was closed."""
    _, writer = await connect(url)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
    for sent in range(megabytes):
        try:
            writer.write(b"x-%d: " % sent + b"a" * 1024 * 1024 + b"\r\n")
            await writer.drain()
        except ConnectionError:
            return sent
    writer.close()
    return megabytes


async def test_A8_a_head_without_end_is_cut_off_early() -> None:
    async with serve(app()) as url:
        assert await flood(url, 100) < 20


async def test_A8_a_header_just_over_the_limit_is_answered_431() -> None:
    async with serve(app()) as url:
        assert await first_line(url, b"GET / HTTP/1.1\r\nx: " + b"a" * 65_600) == (
            b"HTTP/1.1 431 Request Header Fields Too Large"
        )


@pytest.mark.parametrize("start", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: "])
async def test_A8_a_head_that_does_not_come_is_answered_408(start: bytes) -> None:
    async with serve(app(), http=Impatient) as url:
        assert await first_line(url, start) == b"HTTP/1.1 408 Request Timeout"


async def test_A8_a_second_head_that_does_not_come_is_answered_408() -> None:
    async with serve(app(), http=Impatient) as url:
        reader, writer = await connect(url)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\none")
        await asyncio.wait_for(reader.readuntil(b"one"), 30)
        writer.write(b"POST / HT")
        assert (await asyncio.wait_for(reader.readline(), 30)).strip() == b"HTTP/1.1 408 Request Timeout"
        writer.close()


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (HEAD + b"content-length: 1000\r\n\r\n" + b"x" * 1000, b"200 OK"),
        (HEAD + b"content-length: 1001\r\n\r\n" + b"x" * 1001, b"413 Request Entity Too Large"),
        (HEAD + b"content-length: 1001\r\n\r\n", b"413 Request Entity Too Large"),
        (
            HEAD + b"transfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
            b"413 Request Entity Too Large",
        ),
        (HEAD + b"content-length: 10\r\n\r\nx", b"408 Request Timeout"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"200 OK"),
    ],
    ids=["at the limit", "over it", "announced over it", "chunked over it", "too slow", "no body"],
)
async def test_the_limit_for_a_whole_application(request_bytes: bytes, status: bytes) -> None:
    async with serve(app()) as url:
        line = await first_line(url, request_bytes)
        assert line.split(b" ", 1)[1].startswith(status.split()[0])
