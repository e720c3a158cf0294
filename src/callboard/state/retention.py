"""How long what is over is kept: deleted in small portions with pauses, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.state.database import Database
from callboard.state.sql import retention

if TYPE_CHECKING:
    from sqlalchemy import Connection

DAYS = 30.0
DEDUPE_DAYS = 30.0
"""So long a repetition is known for one at least (DESIGN.md, R1)."""
SPENDING_DAYS = 400.0
"""So long it is known at least what a day has cost: this month can be compared with the same one a year ago."""
AT_ONCE = 200
PAUSE_SECONDS = 0.05
LONGEST_SECONDS = 20.0
"""So long a sweep spends on one kind of record; what is left waits for the next sweep."""
EVERY_SECONDS = 3600.0
_MARGIN = timedelta(hours=1)

Unit = Callable[["Connection", datetime, Any, int], retention.Portion]

KINDS: Mapping[str, Unit] = MappingProxyType(
    {
        "dedupe_keys": retention.delete_dedupe_keys,
        "occurrences": retention.delete_occurrences,
        "runs": retention.delete_runs,
        "order_keys": retention.delete_order_keys,
        "reservations": retention.delete_reservations,
        "spending": retention.delete_spending,
        "deliveries": retention.delete_deliveries,
        "events": retention.delete_events,
        "dead_letters": retention.delete_dead_letters,
        "processes": retention.delete_processes,
        "agent_beats": retention.delete_agent_beats,
    }
)
"""In the order of the sweep: what others refer to goes after them."""


class Retention:
    """Deletes what ended more than `days` ago, and nothing that is alive or that something alive refers to.

    What agents remember, definitions, plans under way and the record of who did what are never deleted. Several sweeps
    may go on at once, in one process or in many.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        days: float = DAYS,
        at_once: int = AT_ONCE,
        pause_seconds: float = PAUSE_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._days = days
        self._at_once = at_once
        self._pause_seconds = pause_seconds
        self._longest_seconds = longest_seconds
        self._log = StructuredLogger("retention")

    async def run(self) -> None:
        """Sweeps for ever, once an hour."""
        while True:
            try:
                deleted = await self.sweep()
                if any(deleted.values()):
                    self._log.info("what is past its time was deleted", deleted=deleted)
            except UnavailableError as error:
                self._log.warning("cannot delete what is past its time", reason=error.message)
            await self._clock.sleep(EVERY_SECONDS)

    async def sweep(self) -> dict[str, int]:
        """One sweep; how many records of each kind it has deleted. UnavailableError."""
        now = self._clock.now()
        return {kind: await self._sweep(unit, self._before(kind, now)) for kind, unit in KINDS.items()}

    def _before(self, kind: str, now: datetime) -> datetime:
        if kind == "dedupe_keys":
            return now - timedelta(days=max(self._days, DEDUPE_DAYS))
        if kind == "spending":
            return now - timedelta(days=max(self._days, SPENDING_DAYS))
        if kind == "events":
            # A repetition that was just found by its key is answered with the event.
            return now - timedelta(days=max(self._days, DEDUPE_DAYS)) - _MARGIN
        return now - timedelta(days=self._days)

    async def _sweep(self, unit: Unit, before: datetime) -> int:
        deleted, after = 0, None
        begun = self._clock.monotonic()
        while self._clock.monotonic() - begun < self._longest_seconds:
            portion = await self._database.write(_portion(unit, before, after, self._at_once))
            deleted += portion.deleted
            after = portion.after
            if after is None:
                break
            await self._clock.sleep(self._pause_seconds)
        return deleted


def _portion(unit: Unit, before: datetime, after: Any, limit: int) -> Callable[[Connection], retention.Portion]:
    return lambda connection: unit(connection, before, after, limit)
