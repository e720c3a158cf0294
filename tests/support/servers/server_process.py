"""A real server in a process of its own: what is the same for PostgreSQL, Redis and RabbitMQ."""

from __future__ import annotations

import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.servers.process_tree import descendants, is_alive, send
from tests.support.waiting import wait_until

START_SECONDS = 120.0
STOP_SECONDS = 20.0


class ServerNotStartedError(RuntimeError):
    """The server ended while it started; the message holds the end of its log."""


class ServerProcess(ABC):
    """A private server in a folder, on a free port of 127.0.0.1 that it keeps over restarts.

    `async with` starts it and ends it whatever happened; it also ends with the process that started it. Its data
    outlive stop(), kill() and start(); its output is in `log`.
    """

    name: str
    _ended_by = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    @property
    @abstractmethod
    def url(self) -> str:
        """What a client needs to reach it, for a user that may do everything."""

    @property
    def pid(self) -> int:
        """The server's own process; an AssertionError while it does not run."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it answers; ServerNotStartedError if it ends before."""
        assert self._process is None, f"{self.name} runs already"
        if not self._prepared:
            self._prepare()
            self._prepared = True
        self._process = self._spawn(self._command())

        async def answers() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                self._process = None
                raise ServerNotStartedError(f"{self.name} ended while it started:\n{self._last_lines()}")
            return await self._is_ready()

        await wait_until(answers, f"{self.name} answers at {self.url}", within=START_SECONDS)

    async def stop(self) -> None:
        """End it in its own orderly way; killed when that takes too long."""
        if self._process is None:
            return
        self.resume()
        process = self._process
        process.send_signal(self._ended_by)
        try:
            await wait_until(lambda: process.poll() is not None, f"{self.name} stops", within=STOP_SECONDS)
        except AssertionError:
            await self.kill()
        self._process = None

    async def kill(self) -> None:
        """kill -9 of the server and every process it has started; returns when all of them are gone."""
        if self._process is None:
            return
        pids = [self._process.pid, *descendants(self._process.pid)]
        send(pids, signal.SIGKILL)
        self._process.wait()
        self._process = None
        await wait_until(lambda: not any(is_alive(pid) for pid in pids), f"{self.name} is gone")

    async def restart(self) -> None:
        """stop() and start()."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and nobody answers."""
        send([self.pid], signal.SIGSTOP)
        send(descendants(self.pid), signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; harmless when it was not paused."""
        send([*descendants(self.pid), self.pid], signal.SIGCONT)

    async def aclose(self) -> None:
        """End it without ceremony: its data are not needed any more."""
        await self.kill()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    def _prepare(self) -> None:
        """What is done once, before the first start."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    async def _is_ready(self) -> bool: ...

    def _environment(self) -> dict[str, str] | None:
        return None

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*dying_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the tests; they end their servers
            )

    def _last_lines(self, count: int = 15) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-count:])


def dying_with_parent() -> list[str]:
    """The start of a command line whose process is killed when its parent ends, however that happens (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
