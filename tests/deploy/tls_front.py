"""TLS in front of servers that have none, with a certificate of an authority of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

POSTGRES_WANTS_TLS = struct.pack("!ii", 8, 80877103)
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`authority` is what a client has to trust."""

    authority: Path
    context: ssl.SSLContext


def make_certificate(folder: Path) -> Certificate:
    """For 127.0.0.1, signed by an authority that nobody knows."""
    authority, authority_key, key = folder / "ca.pem", folder / "ca.key", folder / "server.key"
    request, certificate, names = folder / "server.csr", folder / "server.pem", folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new: list[str | Path] = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
    _openssl(*new, "-x509", "-days", "2", "-subj", "/CN=trial authority", "-keyout", authority_key, "-out", authority)
    _openssl(*new, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    signed: list[str | Path] = ["openssl", "x509", "-req", "-days", "2", "-CAcreateserial", "-extfile", names]
    _openssl(*signed, "-in", request, "-CA", authority, "-CAkey", authority_key, "-out", certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return Certificate(authority=authority, context=context)


@contextlib.asynccontextmanager
async def tls_front(port: int, certificate: Certificate, *, postgres: bool = False) -> AsyncIterator[int]:
    """A port that speaks TLS and passes everything on; PostgreSQL's clients ask for TLS first, by a message."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if postgres:
                assert await reader.readexactly(len(POSTGRES_WANTS_TLS)) == POSTGRES_WANTS_TLS
                writer.write(b"S")
                await writer.start_tls(certificate.context)
            await _join(reader, writer, port)
        connections.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if postgres else certificate.context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
    ways: list[Callable[[], Awaitable[None]]] = [
        lambda: _pass_on(reader, behind_writer),
        lambda: _pass_on(behind_reader, writer),
    ]
    try:
        await asyncio.gather(*(way() for way in ways))
    finally:
        behind_writer.close()
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True)
