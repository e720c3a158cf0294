"""A scheduler over a real SQLite file, with a clock that the test moves and a catalog that the test edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from callboard.clock import ManualClock
from callboard.config.definition import AgentDefinition
from callboard.messaging import topology
from callboard.messaging.events import Actor, Event
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.scheduler.ticker import Ticker
from callboard.state.database import Database
from callboard.state.finishing import Consequences, StoredEvent
from callboard.state.models import events, metadata, outbox
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.occurrences import OccurrenceRecord, OccurrenceStatus
from callboard.state.routing import Routing
from callboard.state.runs import Admission, Lane
from callboard.state.sql.rows import stored_event
from callboard.state.sql.sqlite import SqliteDatabase
from callboard.state.store import Store
from tests.support.plain_run import plain_run
from tests.unit.scheduler.making import agent

TESTER = Actor(kind="user", id="tess", via="test")


@dataclass(eq=False)
class Announced:
    """Where committed events are told; what it is told may get lost, as in a crash."""

    events: list[Event] = field(default_factory=list)

    def offer(self, consequences: Consequences) -> None:
        self.events.extend(stored.event for stored in consequences.events)


@dataclass(eq=False)
class House:
    """One database and what runs over it; `process` gives a scheduler of its own, as another process would have."""

    clock: ManualClock
    database: Database
    catalog: list[AgentDefinition] = field(default_factory=list)
    announced: Announced = field(default_factory=Announced)

    @classmethod
    async def open(cls, path: Path, start: datetime) -> House:
        database = SqliteDatabase(path)
        metadata.create_all(database.engine)
        await database.start()
        return cls(clock=ManualClock(start), database=database)

    def has(self, *schedules: dict[str, Any], name: str = "standup") -> None:
        """The catalog holds this agent, with these schedules, from now on."""
        self.lacks(name)
        self.catalog.append(agent(*schedules, name=name))

    def lacks(self, name: str) -> None:
        self.catalog = [definition for definition in self.catalog if definition.name != name]

    def service(self, database: Database | None = None) -> SchedulerService:
        store = OccurrenceStore(database or self.database, self.announced, self.clock)
        return SchedulerService(lambda: self.catalog, store, self.clock)

    def ticker(self, database: Database | None = None) -> Ticker:
        return Ticker(self.service(database), self.clock)

    async def at(self, moment: datetime, *tickers: Ticker) -> None:
        """Time goes on to that moment, then each ticker looks once."""
        await self.clock.advance((moment - self.clock.now()).total_seconds())
        for ticker in tickers:
            await ticker.tick()

    async def later(self, ticker: Ticker, **span: float) -> None:
        await self.at(self.clock.now() + timedelta(**span), ticker)

    async def ledger(self) -> list[OccurrenceRecord]:
        """Everything, oldest first."""
        return (await self.service().history(limit=1_000_000))[::-1]

    async def statuses(self) -> list[tuple[str, OccurrenceStatus]]:
        return [(f"{record.nominal_time:%d %H:%M}", record.status) for record in await self.ledger()]

    async def known(self) -> int:
        """How many schedules the database knows and the catalog holds."""
        return len(await OccurrenceStore(self.database, self.announced, self.clock).states())

    async def events(self) -> list[Event]:
        rows = await self.database.read(lambda c: c.execute(select(events).order_by(events.c.seq)).mappings().all())
        return [stored_event(row).event for row in rows]

    async def untold(self) -> int:
        """How many events lie in the outbox."""
        return len(await self.database.read(lambda c: c.execute(select(outbox.c.event_seq)).all()))

    async def route(self) -> None:
        """Every accepted event becomes a queued run of the agent in its topic."""
        await self._store().route(_routing)

    async def route_to_nobody(self) -> None:
        await self._store().route(lambda _: Routing())

    async def end_run(self, run_id: str | None) -> None:
        assert run_id is not None
        await self._store().request_cancel(run_id, TESTER)

    def _store(self) -> Store:
        return Store(self.database, self.announced, self.clock)


def _routing(stored: StoredEvent) -> Routing:
    event = stored.event
    name = topology.addressee(event.topic)
    if name is None:
        return Routing()
    run = plain_run(event, name, admission=Admission(lane=Lane.BATCH, rank=3))
    return Routing(runs=(run,), expected=True)


def fired(records: Sequence[OccurrenceRecord]) -> list[OccurrenceRecord]:
    return [record for record in records if record.event_id is not None]
