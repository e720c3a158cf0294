"""The database's time on this machine: one time for all processes, whatever their own clocks say."""

from __future__ import annotations

from datetime import datetime, timedelta

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.state.database import Database
from callboard.state.sql.server_time import server_time

SYNC_SECONDS = 5.0
_SLOW_SECONDS = 1.0
_TOLD_SECONDS = 2.0


class DatabaseClock:
    """A `Clock` whose `now` is the database's, read every few seconds and carried on by the monotonic clock between.

    So a wall clock of this machine that is wrong or is set changes nothing. It is never ahead of the database, and
    behind it by at most the time that the reading took.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = StructuredLogger("clock")
        self._read: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """UnavailableError before the first `sync`."""
        if self._read is None:
            raise UnavailableError("the database's time has not been read yet")
        instant, at = self._read
        return instant + timedelta(seconds=self._clock.monotonic() - at)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def sync(self) -> None:
        """Reads the database's time; UnavailableError."""
        asked = self._clock.monotonic()
        instant = await self._database.read(server_time)
        answered = self._clock.monotonic()
        if self._read is None or answered - asked < _SLOW_SECONDS:
            self._tell(instant)
            self._read = (instant, answered)

    async def run(self) -> None:
        """Keeps the time right, for ever; while the database is away the last reading is carried on."""
        while True:
            try:
                await self.sync()
            except UnavailableError as error:
                self._log.debug("the database's time cannot be read", reason=error.message)
            await self._clock.sleep(SYNC_SECONDS)

    def _tell(self, instant: datetime) -> None:
        if self._read is None:
            ahead = (self._clock.now() - instant).total_seconds()
            if abs(ahead) > _TOLD_SECONDS:
                self._log.warning(
                    "this machine's clock is not the database's; schedules go by the database's", ahead_seconds=ahead
                )
        elif abs(jump := (instant - self.now()).total_seconds()) > _TOLD_SECONDS:
            self._log.warning("the database's clock was set", jump_seconds=jump)
