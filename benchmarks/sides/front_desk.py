"""A process that accepts work as the API does: the store over PostgreSQL, told on RabbitMQ."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Mapping

import asyncpg

from callboard import roles
from callboard.bootstrap.core import Core
from callboard.bootstrap.distributed.process import open_core
from callboard.clock import SystemClock
from callboard.ids import derive_id
from callboard.lifecycle import Supervisor
from callboard.logs import LogSettings, Redactor, StructuredLogger, configure
from callboard.messaging.events import Actor, Event, EventType
from callboard.messaging.rabbitmq import RabbitEventBus
from callboard.messaging.topology import api_invoke
from callboard.settings import Settings
from callboard.state.accepting import EventDraft

ENDED = "SELECT count(*) FROM runs WHERE status = 'succeeded'"
ONE_ENDED = "SELECT 1 FROM runs WHERE run_id = $1 AND status = 'succeeded'"
UNDER_WAY = """
SELECT (SELECT count(*) FROM runs WHERE status = 'queued' AND ready)
     + (SELECT count(*) FROM runs WHERE status = 'running')
     + (SELECT count(*) FROM events WHERE routed_at IS NULL AND event_type = 'api.invoke')
"""
"""Spelled like the partial indexes, so that looking costs next to nothing."""
LOOK_SECONDS = 0.003


class FrontDesk:
    """Accepts requests for agents and keeps so many of them under way."""

    def __init__(self, core: Core, bus: RabbitEventBus, url: str) -> None:
        self._core = core
        self._bus = bus
        self._url = url

    async def accept(self, agent: str, text: str = "hello", conversation: str | None = None) -> str:
        """Hands a request to the store, as the API does; the id that its run will have."""
        core = self._core
        event = Event(
            event_id=core.ids.new(),
            event_type=EventType.API_INVOKE,
            topic=api_invoke(agent),
            timestamp=core.clock.now(),
            trace_id=core.ids.new(),
            actor=Actor(kind="api", id="benchmark", via="api"),
            payload={"text": text},
            conversation_id=conversation,
        )
        await core.store.accept_event(EventDraft(event=event, dedupe_keys=(f"benchmark:{event.event_id}",)))
        return derive_id("run", event.event_id, agent)

    async def messages_left(self) -> int:
        """In all queues that outlive a process."""
        return sum(queue.messages for queue in await self._bus.get_queue_info())

    async def keep_in_flight(self, agent: str, count: int, in_flight: int, look_seconds: float = LOOK_SECONDS) -> None:
        """Accepts `count`, at most `in_flight` of which have not ended; looks so often how many have."""
        connection = await asyncpg.connect(self._url)
        await connection.execute("SET enable_seqscan = off")
        accepting: set[asyncio.Task[str]] = set()
        left = count
        try:
            while left or accepting:
                under_way = await connection.fetchval(UNDER_WAY)
                for _ in range(min(in_flight - under_way - len(accepting), left)):
                    task = asyncio.ensure_future(self.accept(agent))
                    accepting.add(task)
                    task.add_done_callback(accepting.discard)
                    left -= 1
                await asyncio.sleep(look_seconds)
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def front_desk(environment: Mapping[str, str]) -> AsyncIterator[FrontDesk]:
    """As the role `api` has it, without HTTP."""
    settings = Settings(
        **{name: environment.get(name) for name in ("DATABASE_URL", "RABBITMQ_URL", "REDIS_URL")}  # type: ignore[arg-type]
    )
    clock = SystemClock()
    with configure(LogSettings(), stream=io.StringIO(), redactor=Redactor()):
        async with open_core(settings, "api", clock, StructuredLogger("benchmark")) as opened:
            core, bus = opened.core, opened.bus
            await core.bus.start()
            supervisor = Supervisor(clock, drain_seconds=5)
            for name, loop in roles.outbox(core.outbox, relay=False):
                supervisor.add(name, loop)
            supervisor.start()
            try:
                yield FrontDesk(core, bus, environment["DATABASE_URL"])
            finally:
                await supervisor.stop("measured")
                await core.bus.close()
