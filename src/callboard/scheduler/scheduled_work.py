"""What a worker does with a task: asked of the scheduler, with nothing of Celery in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.state.occurrences import OccurrenceRecord

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""A task waits so long for a database that is away; after that it is given up, and a later look makes up for it."""
_BETWEEN_TRIES_SECONDS = 1.0


class ScheduledWork:
    """The tasks of the scheduler's queue. Each may come twice, late, and at the same time in several processes."""

    def __init__(
        self,
        service: SchedulerService,
        *,
        know: Callable[[int], Awaitable[None]],
        sweep: Callable[[], Awaitable[object]],
        count: Callable[[], Awaitable[dict[str, object]]],
        clock: Clock,
    ) -> None:
        """`know` makes sure of that catalog or a newer one; `sweep` deletes what is too old; `count` gives numbers."""
        self._service = service
        self._know = know
        self._sweep = sweep
        self._count = count
        self._clock = clock
        self._log = StructuredLogger("scheduler")

    async def execute(self, schedule_ids: Sequence[str], catalog: int) -> None:
        """Enters what is due of these schedules in the ledger and publishes its events."""

        async def fire() -> list[OccurrenceRecord]:
            await self._know(catalog)
            return await self._service.publish_scheduled_tasks(schedule_ids)

        await self._patiently(fire)

    async def release(self) -> None:
        """Starts occurrences whose predecessor has ended."""
        await self._patiently(self._service.release_queued)

    async def reconcile(self) -> None:
        """Fires whatever is due, whether a tick said so or not."""

        async def fire() -> list[OccurrenceRecord]:
            await self._know(0)
            return await self._service.reconcile()

        await self._patiently(fire)

    async def retention(self) -> None:
        """Deletes what is past its time."""
        self._log.info("retention swept", swept=await self._patiently(self._sweep))

    async def statistics(self) -> None:
        """Writes how much of everything there is to the log, where it can be seen over time."""
        self._log.info("statistics", **await self._patiently(self._count))

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await work()
            except UnavailableError as error:
                if self._clock.monotonic() + _BETWEEN_TRIES_SECONDS > deadline:
                    raise
                self._log.debug("a task waits for the database", reason=error.message)
                await self._clock.sleep(_BETWEEN_TRIES_SECONDS)
