"""One role of the distributed system as a real process: started, killed, frozen, stopped."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx2

from tests.support.distributed.site import Site
from tests.support.distributed.spawning import Order, Spawn, spawn
from tests.support.http_client import no_certificates
from tests.support.waiting import wait_until

START_SECONDS = 45.0
UP = "role is up"
_NUMBERS = itertools.count(1)


class RoleProcess:
    """`callboard serve ROLE`; its log lines are read from the file that it prints to.

    It leads a process group of its own, so that what it has started (Celery's children) ends with it.
    """

    def __init__(self, site: Site, role: str, *, spawn: Spawn = spawn, **environment: str) -> None:
        name = f"{role}.{next(_NUMBERS)}"
        self.role = role
        self.out = site.output / f"{name}.out"
        self.err = site.output / f"{name}.err"
        self._process = spawn(
            Order(
                role=role,
                environment=site.variables(**environment),
                folder=site.root,
                out=self.out,
                err=self.err,
            )
        )
        self._up: dict[str, Any] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code, negative after a signal; None while it runs."""
        return self._process.poll()

    @property
    def url(self) -> str:
        """Where people find it; only once it is up."""
        return str(self._told_up()["url"])

    @property
    def health_url(self) -> str:
        return str(self._told_up()["health"])

    @property
    def lines(self) -> list[str]:
        """What it printed, complete lines only."""
        return self.out.read_text(encoding="utf-8").split("\n")[:-1]

    @property
    def told(self) -> str:
        """For the message of a failing test."""
        return f"--- {self.role}: stderr\n{self.err.read_text()[-4000:]}\n--- last lines\n" + "\n".join(
            self.lines[-15:]
        )

    def records(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [json.loads(line) for line in self.lines]

    def has_said(self, message: str) -> bool:
        """Whether one of its log lines has that message."""
        return any(f'"{message}"' in line and json.loads(line)["message"] == message for line in self.lines)

    def is_up(self) -> bool:
        """Whether it has said so; an AssertionError once it has ended instead."""
        if self._up is None:
            found = [record for line in self.lines if f'"{UP}"' in line for record in [json.loads(line)]]
            self._up = found[0] if found else None
        assert self._up is not None or self.ended is None, f"ended with {self.ended} before it was up\n{self.told}"
        return self._up is not None

    async def ready(self, *, within: float = START_SECONDS) -> None:
        """Returns once it is up."""
        try:
            await wait_until(self.is_up, f"{self.role} is up", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told}") from error

    async def logged(self, message: str, *, within: float = 30.0) -> dict[str, Any]:
        """The first log line with that message."""

        def found() -> dict[str, Any] | None:
            return next((record for record in self.records() if record["message"] == message), None)

        line = await wait_until(found, f"{self.role} logs {message!r}", within=within)
        assert line is not None
        return line

    def send(self, number: signal.Signals) -> None:
        """To it and to what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self._process.wait(20)

    def stop(self) -> None:
        """SIGTERM to the process alone, as a supervisor sends it; its end is waited for with `exit_code`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    async def exit_code(self, *, within: float = 40.0) -> int:
        """Its exit code once it has ended, negative after a signal."""
        try:
            await wait_until(lambda: self.ended is not None, f"{self.role} ends", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told}") from error
        return self._process.wait()

    async def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body of its own health route; (0, {}) when nobody answers yet, or any more."""
        return await _health_at(self.health_url) if self.is_up() else (0, {})

    async def metrics(self) -> str:
        async with httpx2.AsyncClient(
            base_url=self.health_url, trust_env=False, verify=no_certificates(), timeout=5.0
        ) as client:
            return (await client.get("/metrics")).text

    def cpu_seconds(self) -> float:
        """User and system time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _told_up(self) -> dict[str, Any]:
        assert self._up is not None, f"{self.role} was not waited for"
        return self._up


async def _health_at(url: str) -> tuple[int, dict[str, Any]]:
    try:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, verify=no_certificates(), timeout=5.0) as client:
            answer = await client.get("/health")
    except (TimeoutError, httpx2.TransportError):
        return 0, {}
    return answer.status_code, dict(answer.json())
