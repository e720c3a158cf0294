"""Whoever watches a run over the API: asks for it, and sees when the first piece of its model's answer comes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

_FIRST = b'"text":'


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Of the agent's runs, at the API on this port."""

    port: int
    agent: str
    token: str | None = None

    async def seconds_behind(self, count: int, at_once: int) -> list[float]:
        """How long after it was written by the model server each run's first piece was here."""
        took: list[float] = []

        async def client() -> None:
            for _ in range(count // at_once):
                took.append(await self._one())  # noqa: PERF401  # those of all clients

        await asyncio.gather(*(client() for _ in range(at_once)))
        return took

    async def _one(self) -> float:
        body = json.dumps({"agent": self.agent, "input": "clock"}).encode()
        reader, writer = await self._request("POST /api/v1/agents/invoke", body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 202 " in head.split(b"\r\n", 1)[0], head + await reader.read(2000)
        run_id = json.loads(await reader.read())["task_id"]
        writer.close()
        while True:
            reader, writer = await self._request(f"GET /api/v1/runs/{run_id}/events", b"")
            try:
                if b" 404 " not in await reader.readline():
                    return await self._first_piece(reader)
            finally:
                writer.close()
            await asyncio.sleep(0.01)  # its event is not routed yet

    async def _first_piece(self, reader: asyncio.StreamReader) -> float:
        seen = b""
        while piece := await reader.read(65536):
            now = time.monotonic()
            seen += piece
            for line in seen.split(b"\n"):
                if line.startswith(b"data: ") and _FIRST in line and line.endswith(b"}"):
                    text: str = json.loads(line[6:])["data"]["text"]
                    return now - float(text.split(" ", 1)[0])
        raise RuntimeError(f"no piece of the answer came: {seen[-2000:].decode()}")

    async def _request(self, first_line: str, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        authority = "" if self.token is None else f"authorization: Bearer {self.token}\r\n"
        writer.write(
            f"{first_line} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{authority}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return reader, writer
