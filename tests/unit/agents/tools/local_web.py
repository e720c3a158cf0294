"""A real HTTP server on 127.0.0.1 that records what reaches it, and a name server of the test's own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class LocalWeb:
    """`pages` maps a path to the raw bytes of its answer; any other path answers 200 with its own name.

    "hang" never answers, "drop" closes without an answer.
    """

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.authority}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.strip().split("\r\n")
            method, path, _ = request.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.seen.append(Seen(method, path, headers, body))
            answer = self.pages.get(path, page(path))
            if answer == b"hang":
                await reader.read()
            elif answer != b"drop":
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def page(text: str | bytes, *, status: str = "200 OK", kind: str = "text/plain", extra: str = "") -> bytes:
    body = text.encode() if isinstance(text, str) else text
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return page("", status=status, extra=f"Location: {location}\r\n")


@asynccontextmanager
async def local_web(tls: ssl.SSLContext | None = None) -> AsyncIterator[LocalWeb]:
    web = LocalWeb()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()


class Names:
    """A resolver that gives the answers it was told, one after the other, the last one for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        given = self._answers.get(host)
        if given is None:
            raise OSError(f"{host} is not known")
        return given.pop(0) if len(given) > 1 else given[0]
