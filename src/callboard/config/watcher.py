"""Watches folders: events of the operating system wake a look, and looks come every second without them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from callboard.clock import Clock
from callboard.config.folder_scan import FolderScan, Look
from callboard.logs import StructuredLogger

SCAN_SECONDS = 1.0
UNSETTLED_SECONDS = 0.05

_TELLING = frozenset({"created", "modified", "moved", "deleted", "closed"})
"""Reading a file makes events too (opened, closed without writing); those must not wake the reader."""


class FolderEvents(FileSystemEventHandler):
    """Calls `wake` on the event loop when something happens in a folder; may miss anything and tells nothing else.

    A folder that was deleted and made again is another folder to the operating system: `follow` notices.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, tuple[tuple[int, int], ObservedWatch]] = {}
        self._lock = threading.Lock()
        self._log = StructuredLogger("config-watcher")

    def __enter__(self) -> Self:
        try:
            self._observer = Observer()
            self._observer.start()
        except OSError as error:
            self._log.warning("no events from the file system; looking every second instead", reason=str(error))
            self._observer = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(timeout=5)

    def follow(self, folders: Sequence[Path]) -> None:
        """Watches each of these that is there now, and nothing else. Blocks briefly: not for the event loop."""
        with self._lock:
            if self._observer is None:
                return
            for folder in self._watched.keys() - set(folders):
                self._unfollow(folder)
            for folder in folders:
                self._follow(folder)

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _TELLING:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._wake)

    def _follow(self, folder: Path) -> None:
        try:
            status = folder.stat()
            identity: tuple[int, int] | None = (status.st_dev, status.st_ino)
        except OSError:
            identity = None
        known = self._watched.get(folder)
        if self._observer is None or (known[0] if known else None) == identity:
            return
        if known is not None:
            self._unfollow(folder)
        if identity is not None:
            try:
                self._watched[folder] = (identity, self._observer.schedule(self, os.fspath(folder), recursive=False))
            except OSError as error:
                self._log.warning("folder without events; looking every second", folder=str(folder), reason=str(error))

    def _unfollow(self, folder: Path) -> None:
        _, watch = self._watched.pop(folder)
        if self._observer is not None:
            with contextlib.suppress(KeyError, OSError):
                self._observer.unschedule(watch)


class FolderWatcher:
    """Looks at the folders and hands over what each look found, one at a time, until it is told to stop."""

    def __init__(self, scan: FolderScan, clock: Clock) -> None:
        self._scan = scan
        self._clock = clock
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """The next look comes at once."""
        self._wake.set()

    async def look(self) -> Look:
        """One look, in a thread."""
        return await asyncio.to_thread(self._scan.look, self._clock.monotonic(), self._clock.now().timestamp())

    async def run(self, stopped: Callable[[], Awaitable[None]], handle: Callable[[Look], Awaitable[None]]) -> None:
        """Looks until `stopped()` returns. What `handle` raises ends the watcher."""
        stop = asyncio.ensure_future(stopped())
        try:
            with FolderEvents(self._wake.set) as events:
                while not stop.done():
                    await asyncio.to_thread(events.follow, self._scan.watched())
                    self._wake.clear()
                    followed = self._scan.followed
                    look = await self.look()
                    await handle(look)
                    await self._pause(stop, unsettled=look.unsettled or self._scan.followed != followed)
        finally:
            stop.cancel()

    async def _pause(self, stop: asyncio.Future[None], *, unsettled: bool) -> None:
        """Until the next look: at least a moment, so that a storm of events is one look each 50 ms."""
        await first_of(stop, self._clock.sleep(UNSETTLED_SECONDS))
        if not unsettled:
            await first_of(stop, self._wake.wait(), self._clock.sleep(SCAN_SECONDS - UNSETTLED_SECONDS))


async def first_of(stop: asyncio.Future[None], *waits: Awaitable[object]) -> None:
    """Until one of these is over; the waits that are not are cancelled, `stop` is not."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    everything: list[asyncio.Future[Any]] = [stop, *tasks]
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
