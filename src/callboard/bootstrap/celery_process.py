"""The process that Celery forks its children from (`python -m callboard.bootstrap.celery_process`).

Started by the role `celery-worker`. It has no thread, no event loop and no connection of ours; each child opens the
core after the fork, on a thread with an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TextIO, cast

from callboard import roles
from callboard.bootstrap.celery_roles import broker_of, newest
from callboard.bootstrap.core import Core
from callboard.bootstrap.distributed.process import open_core
from callboard.bootstrap.orchestration import make_scheduler
from callboard.bootstrap.sweeping import make_retention
from callboard.clock import SystemClock
from callboard.lifecycle import StopSignal, Supervisor
from callboard.log_lines import LineFormat
from callboard.logs import LogPipeline, LogSettings, Redactor, StructuredLogger, configure
from callboard.scheduler.celery_config import SOFT_LIMIT_SECONDS, make_app
from callboard.scheduler.celery_worker import add_tasks, run_worker
from callboard.scheduler.loop_thread import LoopThread
from callboard.scheduler.scheduled_work import ScheduledWork
from callboard.scheduler.worker_lines import WorkerLines
from callboard.scheduler.worker_process import FD_VARIABLE
from callboard.settings import Settings, load_settings, secret_values

ROLE = "celery-worker"
CONNECTIONS = 2
"""A child works one task at a time."""
OPEN_SECONDS = 20.0
CLOSE_SECONDS = 3.0


def main() -> int:
    """Runs the worker until SIGTERM; the exit code."""
    settings = load_settings()
    lines = WorkerLines(int(os.environ[FD_VARIABLE]))
    redactor = Redactor()
    redactor.add(*secret_values(settings))
    _log_directly(settings, lines, redactor)
    child = Child(settings, lines, redactor)
    app = make_app(broker_of(settings))
    add_tasks(app, child.perform)
    return run_worker(app, child, processes=settings.celery_concurrency, pulse=lines.pulse)


class Child:
    """What a pool child has beside Celery: its log, and its loop with the core."""

    def __init__(self, settings: Settings, lines: WorkerLines, redactor: Redactor) -> None:
        self._settings = settings.model_copy(update={"database_pool": CONNECTIONS})
        self._lines = lines
        self._redactor = redactor
        self._clock = SystemClock()
        self._logs: LogPipeline | None = None
        self._thread: LoopThread[ScheduledWork] | None = None

    def begin(self) -> None:
        """After the fork: nothing that was open before is used."""
        settings = self._settings
        self._logs = configure(
            LogSettings(
                level=settings.log_level,
                folder=settings.log_folder,
                name=f"{ROLE}.{platform.node()}.{os.getpid()}",
            ),
            stream=cast("TextIO", self._lines),
            redactor=self._redactor,
        )
        self._thread = LoopThread("worker", self._live, self._clock, died=lambda: os._exit(1))
        self._thread.start()

    def perform(self, work: Callable[[ScheduledWork], Coroutine[Any, Any, None]]) -> None:
        """Runs a task's work on the loop and waits for it."""
        assert self._thread is not None  # noqa: S101  # tasks come after `begin`
        self._thread.call(work, open_seconds=OPEN_SECONDS, seconds=SOFT_LIMIT_SECONDS)

    def end(self) -> None:
        if self._thread is not None:
            self._thread.stop(CLOSE_SECONDS)
        if self._logs is not None:
            self._logs.close()

    async def _live(self, ready: Callable[[ScheduledWork], None], stop: StopSignal) -> None:
        log = StructuredLogger(ROLE)
        async with contextlib.AsyncExitStack() as stack:
            opened = await stack.enter_async_context(open_core(self._settings, ROLE, self._clock, log))
            core = opened.core
            supervisor = Supervisor(core.clock, drain_seconds=CLOSE_SECONDS)
            for name, loop in (
                *roles.outbox(core.outbox, relay=False),
                *roles.definitions(core.catalog),
                *roles.database_clock(opened.clock),
            ):
                supervisor.add(name, loop)
            await core.bus.start()
            stack.push_async_callback(core.bus.close)
            supervisor.start()
            ready(_work(core))
            ended = asyncio.ensure_future(supervisor.wait())
            asked = asyncio.ensure_future(stop.wait())
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            supervisor.request_stop("the worker stops")
            await ended


def _work(core: Core) -> ScheduledWork:
    async def know(catalog: int) -> None:
        if catalog == 0 or core.catalog.current().number < catalog:
            await newest(core)

    async def count() -> dict[str, object]:
        found = await core.queries.statistics()
        untold = 0.0 if found.untold_since is None else (core.clock.now() - found.untold_since).total_seconds()
        return {
            "queued": {f"{mode}/{lane}": waiting for (mode, lane), waiting in found.queued.items()},
            "running": dict(found.running),
            "dead_letters": found.dead_letters,
            "outbox_oldest_seconds": max(0.0, untold),
        }

    return ScheduledWork(
        make_scheduler(core), know=know, sweep=make_retention(core).sweep, count=count, clock=core.clock
    )


def _log_directly(settings: Settings, lines: WorkerLines, redactor: Redactor) -> None:
    """Without the pipeline's thread, whose locks a fork would copy as they happen to be."""
    root, ours = logging.getLogger(), logging.getLogger("callboard")
    root.handlers[:] = [_DirectHandler(lines, LineFormat(redactor))]
    root.setLevel(logging.WARNING)
    ours.setLevel(settings.log_level)
    logging.captureWarnings(True)


class _DirectHandler(logging.Handler):
    def __init__(self, lines: WorkerLines, form: LineFormat) -> None:
        super().__init__()
        self._out = lines
        self._form = form

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # a log line must never break what it reports on
            self._out.write(self._form.format(record, {}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
