"""Progress as server-sent events: every line of a run as it is written, then its end; resumable, and bounded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.integrations.http_api import shapes
from callboard.messaging.wakeup import WakeUp
from callboard.state.query_store import QueryStore
from callboard.state.runs import RunResult

END = "end"
_EVENT_NAME = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)
_EACH_SECONDS = 0.001
_AT_MOST_SECONDS = 0.02
"""However much happens, each open stream makes all of them look that much later again: one look costs as much."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """`poll_seconds` is for wake-ups that were lost; a comment keeps proxies from closing an idle stream."""

    streams: int = 500
    poll_seconds: float = 1.0
    comment_seconds: float = 15.0
    longest_seconds: float = 3600.0


class ProgressFeed:
    """All streams of one process. `run` spreads one wake-up to them; without it they go on by polls."""

    def __init__(self, queries: QueryStore, wake: WakeUp, clock: Clock, limits: FeedLimits | None = None) -> None:
        self._queries = queries
        self._wake = wake
        self._clock = clock
        self._limits = limits or FeedLimits()
        self._changed = asyncio.Event()
        self._open = 0
        self._closed = False

    async def run(self) -> None:
        """Wakes the streams whenever something happened to a run, for ever."""
        while True:
            await self._wake.wait()
            self._notify()
            await self._clock.sleep(min(_EACH_SECONDS * self._open, _AT_MOST_SECONDS))

    def close(self) -> None:
        """Ends every stream; its reader resumes elsewhere, or here after the restart."""
        self._closed = True
        self._notify()

    def reserve(self) -> None:
        """Raises UnavailableError when there are too many streams; asked before the answer begins."""
        if self._closed or self._open >= self._limits.streams:
            raise UnavailableError(
                f"{self._open} streams are open, which is the limit: poll the run's status instead",
                code="too_many_streams",
            )

    async def stream(self, run_id: str, after: int, *, tenant: str) -> AsyncIterator[bytes]:
        """Lines after number `after`, then `end` with the result. Ends early when the feed closes or time is up."""
        self._open += 1
        try:
            begun = commented = self._clock.monotonic()
            yield b"retry: 1000\n\n"
            while not self._closed and self._clock.monotonic() - begun < self._limits.longest_seconds:
                changed = self._changed
                lines, ended = await self._queries.watched(run_id, after, _AT_ONCE, tenant=tenant)
                for line in lines:
                    after = line.n
                    yield _event(line.kind, after, shapes.progress(line))
                found = await self._queries.result(run_id, tenant=tenant) if ended else None
                if found is not None:
                    yield _event(END, after, _end(found))
                    return
                if len(lines) == _AT_ONCE:
                    continue
                if self._clock.monotonic() - commented >= self._limits.comment_seconds:
                    commented = self._clock.monotonic()
                    yield b": still here\n\n"
                await self._wait(changed)
        finally:
            self._open -= 1

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait(self, changed: asyncio.Event) -> None:
        told = asyncio.ensure_future(changed.wait())
        poll = asyncio.ensure_future(self._clock.sleep(self._limits.poll_seconds))
        try:
            await asyncio.wait({told, poll}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            poll.cancel()


def _end(found: RunResult) -> dict[str, object]:
    return {
        **shapes.run_status(found.run),
        "output": found.output,
        "error": shapes.run_error(found.error),
    }


def _event(name: str, number: int, data: dict[str, object]) -> bytes:
    """One event; JSON has no line breaks of its own."""
    shown = name if _EVENT_NAME.fullmatch(name) else "progress"
    body = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, shown.encode(), body)
