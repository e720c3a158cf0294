"""A Celery worker for the scheduler's tasks: warm shutdown by SIGTERM, JSON logs, patient with a broker that is away.

Celery forks its children from a process that has neither threads nor connections of ours; each child opens its own.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from celery import Celery, bootsteps
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.platforms import EX_OK, set_pdeathsig, signals
from celery.signals import worker_process_init, worker_process_shutdown
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from callboard.logs import StructuredLogger
from callboard.scheduler.celery_config import EXECUTE, EXECUTE_MANY, RECONCILE, RELEASE, RETENTION, STATISTICS
from callboard.scheduler.scheduled_work import ScheduledWork

LONGEST_RECONNECT_SECONDS = 5
PULSE_SECONDS = 2.0

Perform = Callable[[Callable[[ScheduledWork], Coroutine[Any, Any, None]]], None]
"""Runs the work where its database and bus are, and waits for it."""


class Children(Protocol):
    """What every pool child begins and ends with."""

    def begin(self) -> None:
        """Called in the child after the fork, before its first task."""
        ...

    def end(self) -> None:
        """Called in the child when it is told to go."""
        ...


def add_tasks(app: Celery, perform: Perform) -> None:
    """The tasks that Beat sends."""

    @app.task(name=EXECUTE)  # type: ignore[untyped-decorator]
    def execute_scheduled_agent(schedule_id: str, nominal_time: str, catalog: int = 0) -> None:
        # The time says what made Beat tick; what is due the database knows.
        perform(lambda work: work.execute([schedule_id], catalog))

    @app.task(name=EXECUTE_MANY)  # type: ignore[untyped-decorator]
    def execute_scheduled_agents(schedule_ids: list[str], catalog: int = 0) -> None:
        perform(lambda work: work.execute(schedule_ids, catalog))

    @app.task(name=RELEASE)  # type: ignore[untyped-decorator]
    def release_queued_occurrences() -> None:
        perform(lambda work: work.release())

    @app.task(name=RECONCILE)  # type: ignore[untyped-decorator]
    def reconcile_schedules() -> None:
        perform(lambda work: work.reconcile())

    @app.task(name=RETENTION)  # type: ignore[untyped-decorator]
    def sweep_retention() -> None:
        perform(lambda work: work.retention())

    @app.task(name=STATISTICS)  # type: ignore[untyped-decorator]
    def collect_statistics() -> None:
        perform(lambda work: work.statistics())


def run_worker(app: Celery, children: Children, *, processes: int, pulse: Callable[[], None]) -> int:
    """Runs a worker in this process until SIGTERM; the exit code.

    `pulse` is called every two seconds while it is connected. When the process that started this one is gone, this
    one stops too.
    """
    # A lambda would be collected: Celery keeps weak references unless told otherwise.
    worker_process_init.connect(lambda **_: children.begin(), weak=False)
    worker_process_shutdown.connect(lambda **_: children.end(), weak=False)
    set_pdeathsig("SIGTERM")
    # Whoever may write to the queue cannot make a worker run anything but these tasks: JSON is all that is read.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.steps["consumer"].add(_pulse_step(pulse))
    worker = _Worker(
        app=app,
        hostname=f"callboard@{platform.node()}",
        pool="prefork",
        concurrency=processes,
        consumer_cls=_PatientConsumer,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or EX_OK)


class _Worker(Worker):  # type: ignore[misc]  # Celery has no types
    """Without Celery's handlers, which write to stdout past the log."""

    def install_platform_tweaks(self, worker: Any) -> None:
        log = StructuredLogger("celery")

        def warm(*_: Any) -> None:
            log.info("the worker takes no more tasks and ends those it has")
            state.should_stop = EX_OK

        signals["SIGTERM"] = warm
        # Ctrl-C reaches every process of the terminal; this one is told by the one that started it.
        signals.ignore("SIGINT", "SIGHUP")


class _PatientConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Tries to reach the broker for ever, at least every few seconds, and says so once."""

    def ensure_connected(self, conn: Any) -> Any:
        log = StructuredLogger("celery")
        tries = 0

        def told(error: BaseException, pause: float) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                log.warning("RabbitMQ cannot be reached: tasks wait for it", broker=conn.as_uri(), reason=str(error))

        connected = conn.ensure_connection(
            told,
            None,
            interval_start=1,
            interval_step=1,
            interval_max=LONGEST_RECONNECT_SECONDS,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        if tries:
            log.info("connected to the broker", tries=tries)
        return connected


def _pulse_step(pulse: Callable[[], None]) -> type:
    class Pulse(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            pulse()
            self.entry = consumer.timer.call_repeatedly(PULSE_SECONDS, pulse)

        def stop(self, consumer: Any) -> None:
            self.entry.cancel()

    return Pulse
