"""What the wire under the SDKs takes from a server, and what it does not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from callboard.llm.providers.aiohttp_transport import MAX_ANSWER_BYTES, AiohttpTransport


@asynccontextmanager
async def server(head: str, body: bytes, *, endless: bool = False) -> AsyncIterator[tuple[str, list[str]]]:
    """Answers every request so; the list holds the heads of the requests."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
            writer.write(f"HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n".encode())
            writer.write(body)
            await writer.drain()
            while endless:
                writer.write(body)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/", seen


async def get(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=AiohttpTransport()) as client:
        return await client.get(url)


async def test_an_answer_comes_as_it_was_sent_and_is_not_asked_for_compressed() -> None:
    async with server("Content-Type: application/json\r\n", b'{"a": 1}') as (url, seen):
        assert (await get(url)).json() == {"a": 1}
        assert "accept-encoding: identity" in seen[0]


async def test_G5_an_answer_without_end_is_cut_off() -> None:
    async with server("", b"x" * 1024 * 1024, endless=True) as (url, _):
        with pytest.raises(httpx2.ReadError, match=str(MAX_ANSWER_BYTES)):
            await get(url)


async def test_G5_a_compressed_answer_is_refused_before_it_is_read() -> None:
    async with server("Content-Encoding: gzip\r\n", gzip.compress(b"0" * 1000)) as (url, _):
        with pytest.raises(httpx2.RemoteProtocolError, match="compressed"):
            await get(url)
