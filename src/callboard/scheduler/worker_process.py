"""The Celery worker as a process of its own beside the role's: it forks, so nothing of ours may run in it.

The role's process has the health port, the database and the bus; what the worker and its children log comes through a
socket that keeps each line whole, and pulses tell that the worker is connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.health import Degraded
from callboard.lifecycle import StopSignal
from callboard.logs import StructuredLogger
from callboard.scheduler.worker_lines import PULSE, largest_message

FD_VARIABLE = "CALLBOARD_WORKER_FD"
"""Tells the worker on which descriptor it is heard."""
SILENT_SECONDS = 10.0
SHORTEST_LIFE_SECONDS = 5.0
"""A worker that cannot start ends its role no sooner, so that whatever starts that anew does not spin."""
_SHARE_OF_THE_DRAIN = 0.8


class WorkerProcess:
    """Starts the worker and ends with it."""

    def __init__(self, command: Sequence[str], clock: Clock, *, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is set beside what this process has."""
        self._command = tuple(command)
        self._clock = clock
        self._environment = dict(environment or {})
        self._log = StructuredLogger("celery")
        self._pulse_at = float("-inf")
        self.pid: int | None = None

    async def run(self, stop: StopSignal) -> None:
        """Until it is told to stop; UnavailableError when the worker ends by itself."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.closing(ours):
            with contextlib.closing(theirs):
                begun = self._clock.monotonic()
                self._pulse_at = begun
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, **self._environment, FD_VARIABLE: str(theirs.fileno())},
                )
            self.pid = process.pid
            listening = threading.Thread(target=self._listen, args=(ours,), name="worker-lines", daemon=True)
            listening.start()
            ended = asyncio.ensure_future(process.wait())
            asked = asyncio.ensure_future(stop.wait())
            try:
                await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    await self._end(process, ended, stop)
                elif not asked.done():
                    await self._clock.sleep(SHORTEST_LIFE_SECONDS - (self._clock.monotonic() - begun))
                    raise UnavailableError(f"the Celery worker ended by itself, with exit code {process.returncode}")
            finally:
                asked.cancel()
                if process.returncode is None:
                    process.kill()  # its children end with it
                    await process.wait()
                await asyncio.to_thread(listening.join, 2.0)

    def connected(self) -> bool:
        """Whether tasks reach it, as far as can be told."""
        return self.pid is not None and self._silent() < SILENT_SECONDS

    async def check(self) -> Degraded | None:
        """For the health report: degraded while the worker says nothing, which it does when it has no broker."""
        if self.pid is None:
            raise UnavailableError("the Celery worker has not been started")
        if self.connected():
            return None
        return Degraded(reason=f"the Celery worker has not been connected to RabbitMQ for {self._silent():.0f} s")

    def _silent(self) -> float:
        return self._clock.monotonic() - self._pulse_at

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Future[int], stop: StopSignal) -> None:
        """Warm first: no new task, those under way end. What is cut off comes again, to another worker."""
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        remaining = stop.remaining_seconds()
        seconds = None if remaining is None else remaining * _SHARE_OF_THE_DRAIN
        await asyncio.wait({ended}, timeout=seconds)
        if not ended.done():
            self._log.warning("the worker did not end in time and is killed; its tasks go to another one")
            process.kill()
            await ended

    def _listen(self, heard: socket.socket) -> None:
        """On a thread: whoever reads our output may be slow."""
        size = largest_message(heard)
        while True:
            try:
                message = heard.recv(size)
            except OSError:
                return
            if not message:
                return
            if message == PULSE:
                self._pulse_at = self._clock.monotonic()
                continue
            with contextlib.suppress(OSError, ValueError):  # an output that is closed loses lines and nothing else
                sys.stdout.write(message.decode("utf-8", "replace"))
                sys.stdout.flush()
