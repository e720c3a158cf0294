"""scheduler-service and celery-worker: the two roles of the schedules.

Beat runs on a thread of its role's process. The worker is a process of its own (`celery_process`), because it forks:
the role's process has the health port and watches it.
"""

from __future__ import annotations

import sys

from callboard import roles
from callboard.bootstrap.core import Core
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.orchestration import make_scheduler
from callboard.errors import CallboardError, UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.event_bus import EventBus
from callboard.scheduler.celery_beat import Beat
from callboard.scheduler.celery_config import make_app
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.scheduler.tick_plan import TickPlan
from callboard.scheduler.worker_process import WorkerProcess
from callboard.settings import Settings, text_of

WITHOUT_TICKS_SECONDS = 5.0
"""So often a worker's role looks for itself what is due while no tick can reach the worker."""


async def build_beat(around: Surroundings) -> RoleWork:
    """What `scheduler-service` is made of."""
    core = around.core
    plan = TickPlan(make_scheduler(core), lambda: newest(core), core.clock)
    beat = Beat(make_app(broker_of(core.settings)), plan, core.clock)

    async def begin() -> None:
        await core.catalog.refresh()

    return RoleWork(
        loops=[
            *roles.definitions(core.catalog),
            ("beat", beat.run),
        ],
        begin=begin,
        checks={"beat": beat.check},
    )


async def build_worker(around: Surroundings) -> RoleWork:
    """What `celery-worker` is made of."""
    core = around.core
    service = make_scheduler(core)
    worker = WorkerProcess([sys.executable, "-m", "callboard.bootstrap.celery_process"], core.clock)

    async def begin() -> None:
        await core.catalog.refresh()

    async def look_without_ticks() -> None:
        await fire_without_ticks(core, service, worker)

    return RoleWork(
        loops=[
            *roles.definitions(core.catalog),
            ("schedules without ticks", roles.forever(look_without_ticks)),
            ("celery worker", worker.run),
        ],
        begin=begin,
        checks={"celery": worker.check},
    )


def broker_of(settings: Settings) -> str:
    """As Celery wants it: it would take an empty virtual host's name for the default one."""
    url = text_of(settings.rabbitmq_url)
    assert url is not None  # noqa: S101  # the bus of this role was made of it
    return url


async def newest(core: Core) -> int:
    """The number of the newest catalog, which is the current one then."""
    return (await core.catalog.refresh()).number


async def fire_without_ticks(core: Core, service: SchedulerService, worker: WorkerProcess) -> None:
    """While the worker has no broker no tick arrives; what comes due is found by looking (DESIGN.md, rule 4)."""
    log = StructuredLogger("scheduler")
    alone = False
    while True:
        await core.clock.sleep(WITHOUT_TICKS_SECONDS)
        if worker.connected() and await _answers(core.bus):
            alone = False
            continue
        if not alone:
            log.warning("no tick can reach the worker: this process looks for itself what is due")
        alone = True
        try:
            await core.catalog.refresh()
            await service.reconcile()
        except UnavailableError as error:
            log.debug("the database is away too", reason=error.message)


async def _answers(bus: EventBus) -> bool:
    try:
        await bus.ping()
    except CallboardError:
        return False
    return True
