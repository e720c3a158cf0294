"""A Celery worker for the scheduler's tasks: warm shutdown by SIGTERM, JSON logs, patient with a broker that is away.

Celery forks its children from a process that has neither threads nor connections of ours; each child opens its own.
"""

from __future__ import annotations

import platform
import threading
import warnings
from collections.abc import Callable, Coroutine
from itertools import chain, repeat
from typing import Any, Protocol

from celery import Celery, bootsteps
from celery.apps.worker import Worker
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.platforms import EX_OK, set_pdeathsig, signals
from celery.signals import worker_process_init, worker_process_shutdown
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from callboard.clock import SystemClock
from callboard.logs import StructuredLogger
from callboard.scheduler.celery_config import EXECUTE, EXECUTE_MANY, RECONCILE, RELEASE, RETENTION, STATISTICS
from callboard.scheduler.scheduled_work import ScheduledWork

LONGEST_RECONNECT_SECONDS = 5.0
_GRAIN_SECONDS = 0.25
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
    # Told at every lost connection, about what a later Celery will do with tasks that are under way.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
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
    """Tries to reach the broker for ever, every few seconds, and says so once for each reason.

    Celery's own would begin again at once, without a pause, where the broker refuses the password or the queue.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._clock = SystemClock()
        self._log = StructuredLogger("celery")
        self._connected_at = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        if self._clock.monotonic() - self._connected_at < LONGEST_RECONNECT_SECONDS:
            _pause(LONGEST_RECONNECT_SECONDS)  # the last connection was of no use
        told: str | None = None
        for pause in chain((1.0, 2.0, 3.0), repeat(LONGEST_RECONNECT_SECONDS)):
            try:
                conn.connect()
                break
            except (*self.connection_errors, *self.channel_errors, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
                if reason != told:
                    self._log.warning(
                        "RabbitMQ cannot be reached: tasks wait for it", broker=conn.as_uri(), reason=reason
                    )
                told = reason
            _pause(pause)
        self._connected_at = self._clock.monotonic()
        self.first_connection_attempt = False
        if told is not None:
            self._log.info("connected to the broker")
        return conn


def _pause(seconds: float) -> None:
    """Shorter when the worker is told to stop: that comes out as Celery's own exception."""
    nothing = threading.Event()
    for _ in range(int(seconds / _GRAIN_SECONDS)):
        maybe_shutdown()
        nothing.wait(_GRAIN_SECONDS)


def _pulse_step(pulse: Callable[[], None]) -> type:
    class Pulse(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
        requires = ("celery.worker.consumer.tasks:Tasks",)

        entry: Any = None

        def start(self, consumer: Any) -> None:
            pulse()
            self.entry = consumer.timer.call_repeatedly(PULSE_SECONDS, pulse)

        def stop(self, consumer: Any) -> None:
            if self.entry is not None:
                self.entry.cancel()

    return Pulse
