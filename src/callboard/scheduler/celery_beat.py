"""Beat with a scheduler of our own: it asks the plan what is due and hands that to the workers as tasks.

There is no state file: what was ticked is known from the database's ledger alone. Two Beats tick everything twice, and
the ledger lets each time through once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from celery import Celery
from celery.beat import Scheduler, Service
from kombu.exceptions import KombuError

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.health import Degraded
from callboard.lifecycle import StopSignal
from callboard.logs import StructuredLogger
from callboard.scheduler.celery_config import (
    CONFIRM_SECONDS,
    EXECUTE,
    EXECUTE_MANY,
    RECONCILE,
    RELEASE,
    RETENTION,
    STATISTICS,
)
from callboard.scheduler.scheduler_service import BATCH
from callboard.scheduler.tick_plan import LONGEST_PAUSE_SECONDS, Tick, TickPlan, Ticks

TASK_OF_ITS_OWN = 20
"""So many schedules of one pass get a task each, which spreads them over the workers; more come in batches."""
EVERY_SECONDS = {RECONCILE: 30.0, STATISTICS: 60.0, RETENTION: 3600.0}
SILENT_SECONDS = 30.0
SHORTEST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 5.0


class TaskSender:
    """Publishes tasks with the broker's confirm; while the broker is away it tries at most once a second or slower."""

    def __init__(self, app: Celery, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._log = StructuredLogger("beat")
        self._connection: Any = None
        self._producer: Any = None
        self._next_try = float("-inf")
        self._pause = SHORTEST_RETRY_SECONDS
        connection = app.connection_for_write()
        self._errors = (*connection.connection_errors, *connection.channel_errors, KombuError, OSError, EOFError)
        self.reason: str | None = "not connected yet"

    def ready(self) -> bool:
        """Whether there is a connection; makes one if it is time to try. Only a task that arrives proves it good."""
        if self._producer is not None:
            return True
        if self._clock.monotonic() < self._next_try:
            return False
        try:
            # Without heartbeats: nobody would answer them between two ticks, and a confirm that stays out ends it too.
            self._connection = self._app.connection_for_write(heartbeat=0)
            self._connection.connect()
            self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
        except self._errors as error:
            self._lost(error)
            return False
        return True

    def send(self, task: str, arguments: Sequence[object] = ()) -> bool:
        """False when it did not get there, or nobody knows."""
        if not self.ready():
            return False
        try:
            self._app.send_task(
                task, list(arguments), producer=self._producer, confirm_timeout=CONFIRM_SECONDS, retry=False
            )
        except self._errors as error:
            self._lost(error)
            return False
        if self.reason is not None:
            self._log.info("the broker takes tasks")
        self.reason = None
        self._pause = SHORTEST_RETRY_SECONDS
        return True

    def close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                connection.release()
            except self._errors as error:
                self._log.debug("the broker connection did not close well", reason=type(error).__name__)

    def _lost(self, error: BaseException) -> None:
        said = _said(error)
        if self.reason != said:
            self._log.warning("RabbitMQ cannot be reached: schedules wait for it", reason=said)
        self.reason = said
        self.close()
        self._next_try = self._clock.monotonic() + self._pause
        self._pause = min(LONGEST_RETRY_SECONDS, self._pause * 2)


class CatalogScheduler(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Celery's scheduler, fed by the live catalog in place of a configured list."""

    def __init__(self, app: Celery, *, take: Callable[[], Ticks], doubt: Callable[[], None], clock: Clock, **more: Any):
        self._take = take
        self._doubt = doubt
        self._clock = clock
        self._sender = TaskSender(app, clock)
        started = clock.monotonic()
        self._next = {RECONCILE: started, STATISTICS: started + 60.0, RETENTION: started + 60.0}
        self._unsure = False
        self.ticked_at = started
        super().__init__(app, **more)

    @property
    def away(self) -> str | None:
        """Why nothing can be published now."""
        return self._sender.reason

    def setup_schedule(self) -> None:
        """There is none but the catalog."""

    def tick(self, *_: Any, **__: Any) -> float:
        """One pass: what is due goes out; the seconds until the next."""
        self.ticked_at = self._clock.monotonic()
        if not self._sender.ready():
            self._unsure = True
            return LONGEST_PAUSE_SECONDS
        if self._unsure:
            self._doubt()
            self._next[RECONCILE] = self._clock.monotonic()
        ticks = self._take()
        self._unsure = not (self._send_due(ticks) and self._send_entries(ticks))
        return LONGEST_PAUSE_SECONDS if self._unsure else ticks.pause_seconds

    def should_sync(self) -> bool:
        """There is nothing to keep."""
        return False

    def close(self) -> None:
        self._sender.close()

    def _send_due(self, ticks: Ticks) -> bool:
        if len(ticks.due) <= TASK_OF_ITS_OWN:
            return all(self._send_one(tick, ticks.catalog) for tick in ticks.due)
        names = [tick.schedule_id for tick in ticks.due]
        return all(
            self._sender.send(EXECUTE_MANY, [names[start : start + BATCH], ticks.catalog])
            for start in range(0, len(names), BATCH)
        )

    def _send_one(self, tick: Tick, catalog: int) -> bool:
        return self._sender.send(EXECUTE, [tick.schedule_id, tick.nominal_time.isoformat(), catalog])

    def _send_entries(self, ticks: Ticks) -> bool:
        now = self._clock.monotonic()
        if ticks.found_again:
            self._next[RECONCILE] = now
        due = [name for name, at in self._next.items() if at <= now]
        for name in due:
            self._next[name] = now + EVERY_SECONDS[name]
        if ticks.queued and RECONCILE not in due:
            due.append(RELEASE)
        return all(self._sender.send(name) for name in due)


class Beat:
    """Celery's Beat on a thread of its own, under the process's supervision."""

    def __init__(self, app: Celery, plan: TickPlan, clock: Clock) -> None:
        self._app = app
        self._plan = plan
        self._clock = clock
        self._scheduler: CatalogScheduler | None = None

    async def run(self, stop: StopSignal) -> None:
        """Ticks until it is told to stop; whatever Beat dies of comes out here."""
        loop = asyncio.get_running_loop()
        service = Service(self._app, scheduler_cls=partial(self._make, loop), max_interval=LONGEST_PAUSE_SECONDS)
        ended: Future[None] = Future()
        threading.Thread(target=_carry, args=(service.start, ended), name="beat", daemon=True).start()
        running = asyncio.ensure_future(asyncio.wrap_future(ended))
        asked = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
            service.stop()
            await running
        finally:
            asked.cancel()
            service.stop()

    async def check(self) -> Degraded | None:
        """For the health report: UnavailableError when Beat stands still, degraded while it cannot publish."""
        scheduler = self._scheduler
        silent = float("inf") if scheduler is None else self._clock.monotonic() - scheduler.ticked_at
        if scheduler is None or silent > SILENT_SECONDS:
            raise UnavailableError(f"Beat has not ticked for {silent:.0f} s")
        return None if scheduler.away is None else Degraded(reason="RabbitMQ cannot be reached: schedules wait for it")

    def _make(self, loop: asyncio.AbstractEventLoop, **given: Any) -> CatalogScheduler:
        def take() -> Ticks:
            return asyncio.run_coroutine_threadsafe(self._plan.next(), loop).result()

        def doubt() -> None:
            loop.call_soon_threadsafe(self._plan.doubt)

        self._scheduler = CatalogScheduler(**given, take=take, doubt=doubt, clock=self._clock)
        return self._scheduler


def _carry(run: Callable[[], None], ended: Future[None]) -> None:
    try:
        run()
    except BaseException as error:  # noqa: BLE001  # the supervisor must hear of it, whatever it is
        ended.set_exception(error)
    else:
        ended.set_result(None)


def _said(error: BaseException) -> str:
    """Only what our own log may show: a driver's words, which name the host and never the password."""
    return f"{type(error).__name__}: {str(error)[:200]}"
