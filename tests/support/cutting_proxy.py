"""A proxy in front of a server that can lose an answer: what was asked is done, and nobody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Listens on a free port of 127.0.0.1.

    After `cut_after(words)` the next request that contains the words is passed on, its answer is waited for and
    thrown away, and that connection is closed on both sides. Everything else goes through.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._words: bytes | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0
        self.refusing = False
        """Whether new connections are closed at once."""
        self.passing = asyncio.Event()
        """While it is cleared, new connections get no further than here."""
        self.passing.set()
        self.held = 0
        """How many are held up so."""

    def cut_after(self, words: bytes) -> None:
        self._words = words

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError):
            if not self.refusing:
                self.held += 1
                await self.passing.wait()
                self.held -= 1
                await self._between(client, answers)
        answers.close()

    async def _between(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, requests = await asyncio.open_connection(*self._target)
        lost = asyncio.Event()
        back = asyncio.ensure_future(self._pass_back(server, answers, lost))
        try:
            while data := await client.read(1 << 20):
                if self._words is not None and self._words in data:
                    self._words = None
                    self.cuts += 1
                    lost.set()
                requests.write(data)
                await requests.drain()
                if lost.is_set():
                    await back
                    return
        finally:
            back.cancel()
            requests.close()

    async def _pass_back(
        self, server: asyncio.StreamReader, answers: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await server.read(1 << 20):
                if lost.is_set():
                    return
                answers.write(data)
                await answers.drain()
        answers.close()
