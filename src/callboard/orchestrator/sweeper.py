"""Notices processes that have stopped, and deadlines that have passed (DESIGN.md, R13)."""

from __future__ import annotations

from collections.abc import Callable

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.state.process_store import ProcessStore
from callboard.state.store import Store


class Sweeper:
    """Compares each process's beat only with itself, on this process's own monotonic clock.

    A beat that stood still for `dead_seconds` while every look at it succeeded in time means that its process is gone.
    After a look that failed or came late the count starts anew, so that a database outage, or this process's own
    sleep, kills nobody.
    """

    def __init__(
        self,
        store: Store,
        processes: ProcessStore,
        clock: Clock,
        *,
        beat_seconds: float = 5.0,
        dead_seconds: float = 20.0,
        observe_losses: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._store = store
        self._processes = processes
        self._clock = clock
        self._every = beat_seconds
        self._dead_seconds = dead_seconds
        self._observe_losses = observe_losses
        self._seen: dict[str, tuple[int, float]] = {}
        self._last_look: float | None = None
        self._log = StructuredLogger("state-manager")

    async def run(self) -> None:
        while True:
            await self.sweep()
            await self._clock.sleep(self._every)

    async def sweep(self) -> None:
        """One look at everything."""
        try:
            await self._store.sweep_questions()
            await self._look_at_processes()
        except UnavailableError as error:
            self._seen.clear()
            self._log.warning("cannot sweep", reason=error.message)

    async def _look_at_processes(self) -> None:
        alive = await self._processes.alive()
        now = self._clock.monotonic()
        if self._last_look is not None and now - self._last_look > 2 * self._every:
            self._seen.clear()
        self._last_look = now
        self._seen = {
            record.id: known
            if (known := self._seen.get(record.id, (-1, now)))[0] == record.beat
            else (record.beat, now)
            for record in alive
        }
        dead = [name for name, (_, since) in self._seen.items() if now - since >= self._dead_seconds]
        if dead:
            self._log.warning("processes are gone, their runs go to others", processes=dead)
            self._observe_losses(await self._processes.declare_dead(dead))
