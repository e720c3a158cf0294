"""A model's answer on its way to whoever watches the run: the first piece at once, then as much as has come while the
piece before was being written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from callboard.agents.engine import Journal, OnText
from callboard.clock import Clock
from callboard.messaging.topology import run_progress
from callboard.redaction import Redactor
from callboard.state.runs import Lane, Run

TEXT = "text"
"""The kind of progress line that holds a piece: {text, call}; `call` counts the model calls of one claim."""
PAUSE_SECONDS = 0.02
"""Between two pieces: more often than people can see costs writes and shows nothing."""


class TextStreams:
    """The streams of one process, so many model calls at once; the text of all further ones comes with their results.

    Only a run that was asked for over the API can be watched while a model speaks: nobody else's is told in pieces.
    """

    def __init__(
        self, clock: Clock, signal: Callable[[str], None], *, most: int = 20, redactor: Redactor | None = None
    ) -> None:
        """`signal` wakes those who watch runs; the `redactor` knows what nobody may see."""
        self.redactor = redactor or Redactor()
        self._clock = clock
        self._signal = signal
        self._most = most
        self._active = 0

    def of(self, run: Run, journal: Journal) -> OnText | None:
        watched = run.actor.kind == "api" and run.lane is Lane.INTERACTIVE and run.depth == 0
        return _TextStream(self, run.run_id, journal) if watched and self._most > 0 else None

    def begin(self) -> bool:
        """Whether one more may begin."""
        if self._active >= self._most:
            return False
        self._active += 1
        return True

    def end(self) -> None:
        self._active -= 1

    async def pause(self) -> None:
        await self._clock.sleep(PAUSE_SECONDS)

    def wake(self, run_id: str) -> None:
        self._signal(run_progress(run_id))


class _TextStream:
    """Of one run under one claim. Between two model calls nothing is under way."""

    def __init__(self, streams: TextStreams, run_id: str, journal: Journal) -> None:
        self._streams = streams
        self._run_id = run_id
        self._journal = journal
        self._call = 0
        self._waiting: list[str] = []
        self._held = ""
        self._writing: asyncio.Task[None] | None = None
        self._pausing = False
        self._ending = False
        self._begun = False

    def begin(self) -> bool:
        self._begun = self._streams.begin()
        if not self._begun:
            self._call += 1
        return self._begun

    async def __call__(self, text: str) -> None:
        self._waiting.append(text)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name=f"text of run {self._run_id}")

    async def done(self) -> None:
        """The answer is whole, or has broken off: what is left is written. Raises FencedError."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                await self._ended(writing)
            if self._waiting or self._held:
                await self._tell(whole=True)
        finally:
            if self._begun:
                self._streams.end()
            self._begun = False
            self._ending = False
            self._waiting.clear()
            self._held = ""
            self._call += 1

    async def _ended(self, writing: asyncio.Task[None]) -> None:
        """Without the pause, which would be spent on nothing: the answer is whole."""
        self._ending = True
        if self._pausing:
            writing.cancel()
        await asyncio.wait({writing})
        if not writing.cancelled():
            writing.result()

    async def _write(self) -> None:
        while self._waiting:
            await self._tell()
            if self._ending:
                return
            self._pausing = True
            try:
                await self._streams.pause()
            finally:
                self._pausing = False

    async def _tell(self, *, whole: bool = False) -> None:
        """What may be the beginning of a secret is held back until the next piece shows what it is."""
        redactor = self._streams.redactor
        text = redactor.redact(self._held + "".join(self._waiting))
        self._waiting.clear()
        end = len(text) if whole else len(text) - redactor.begun(text)
        self._held, text = text[end:], text[:end]
        if text:
            await self._journal.progress(TEXT, {"text": text, "call": self._call})
            self._streams.wake(self._run_id)
