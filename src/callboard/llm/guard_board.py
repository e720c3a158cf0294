"""This process's copy of what all workers know of the providers: looked at for each call, read once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.llm.guard_states import GuardState, GuardStates
from callboard.logs import StructuredLogger

T = TypeVar("T")
REFRESH_SECONDS = 1.0
PATIENCE_SECONDS = 0.5
"""A model call waits no longer than this for the shared state; then what is known here decides."""
_FUTURE = timedelta(minutes=1)
_UNSHARED_SECONDS = 30.0


class GuardBoard:
    """Never raises for a shared place that is away, and never waits long for it.

    What could not be shared holds here until it is half a minute old or the shared state has changed since.
    """

    def __init__(self, states: GuardStates, clock: Clock, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._states = states
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._copy: dict[str, GuardState] = {}
        self._unshared: dict[str, float] = {}
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None
        self._late: set[asyncio.Future[Any]] = set()
        self._away = False
        self._log = StructuredLogger("provider-guard")

    async def state(self, name: str) -> GuardState:
        """At most a second old, where the shared state can be read."""
        if self._read_at is None or self._clock.monotonic() - self._read_at >= REFRESH_SECONDS:
            await self._refresh()
        return self.known(name)

    def known(self, name: str) -> GuardState:
        """Without any I/O. A state from the future was written before a clock was set back: it is not believed."""
        state = self._copy.get(name)
        if state is None or (state.updated_at is not None and state.updated_at > self._clock.now() + _FUTURE):
            return GuardState()
        return state

    async def change(self, name: str, decide: Callable[[GuardState], tuple[GuardState, T]]) -> T:
        """What `decide` makes of the shared state, or of the copy here while that is away."""
        shared = await self._in_time(self._states.change(name, decide))
        if shared is not None:
            self._unshared.pop(name, None)
            self._copy[name] = shared[0]
            return shared[1]
        after, result = decide(self.known(name))
        self._copy[name] = after
        self._unshared[name] = self._clock.monotonic()
        return result

    async def _refresh(self) -> None:
        """One reading for all who ask meanwhile."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
            self._reading.add_done_callback(self._reading_ended)
        await asyncio.wait({self._reading}, timeout=self._patience_seconds)

    def _reading_ended(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled() and task.exception() is not None:
            self._log.error("what is known of the providers cannot be read", reason=str(task.exception()))

    async def _read(self) -> None:
        self._read_at = self._clock.monotonic()
        before = dict(self._copy)
        try:
            found = await self._states.load()
        except UnavailableError as error:
            self._tell(error)
            return
        self._away = False
        self._merge(found, before)

    def _merge(self, found: Mapping[str, GuardState], before: Mapping[str, GuardState]) -> None:
        """What was changed here while the reading was under way is newer than it."""
        now = self._clock.monotonic()
        kept = {name for name, at in self._unshared.items() if now - at < _UNSHARED_SECONDS}
        self._unshared = {name: at for name, at in self._unshared.items() if name in kept}
        changed = {name for name, state in self._copy.items() if before.get(name) is not state}
        mine = {name: self._copy[name] for name in (kept | changed) & self._copy.keys()}
        self._copy = {**found, **mine}

    async def _in_time(self, work: Awaitable[T]) -> T | None:
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=self._patience_seconds)
        if not done:
            self._late.add(task)
            task.add_done_callback(self._late_ended)
            return None
        try:
            result = task.result()
        except UnavailableError as error:
            self._tell(error)
            return None
        self._away = False
        return result

    def _late_ended(self, task: asyncio.Future[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # it was reported as not shared, whatever it came to

    def _tell(self, error: UnavailableError) -> None:
        if not self._away:
            self._log.warning("what other workers know of the providers cannot be had", reason=error.message)
        self._away = True
