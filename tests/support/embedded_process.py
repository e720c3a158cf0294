"""A real `callboard up` in a process of its own: started on folders of the test, killed and started again on them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support.installation import Installation
from tests.support.waiting import wait_until

COMMAND = ("-c", "from callboard.cli.main import main; main()")
START_SECONDS = 60.0


@dataclass(eq=False)
class Premises(Installation):
    """The folders of one embedded system and what is set in its environment; they outlive its processes."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    starts: int = 0

    def __post_init__(self) -> None:
        self.make_folders()

    @property
    def database(self) -> Path:
        return self.data / "callboard.db"

    def variables(self, **more: str) -> dict[str, str]:
        """The whole environment of a process here."""
        return {**self.own_variables(), **self.environment, **more}

    def rows(self, query: str, *arguments: Any) -> list[sqlite3.Row]:
        """Reads the database beside whoever holds it."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10.0)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(query, arguments).fetchall()
        finally:
            connection.close()

    async def query(self, statement: str) -> list[dict[str, Any]]:
        """`rows` for those who can wait for a database."""
        return [dict(row) for row in self.rows(statement)]

    def running(self, **environment: str) -> contextlib.AbstractAsyncContextManager[EmbeddedProcess]:
        """A process that is up; killed at the end if it still runs."""
        return running(self, **environment)

    def command(self, *arguments: str, within: float = 30.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Any other `callboard` command, to its end."""
        return subprocess.run(
            [sys.executable, *COMMAND, *arguments],
            env=self.variables(**environment),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )


@dataclass(eq=False)
class EmbeddedProcess:
    """One run of `callboard up`. Its standard output and error are files, so it never waits for a reader."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    url: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def lines(self) -> list[str]:
        """What it printed, complete lines only."""
        return self.out.read_text(encoding="utf-8").split("\n")[:-1]

    @property
    def told(self) -> str:
        """For the message of a failing test."""
        return f"--- stderr\n{self.err.read_text()[-4000:]}\n--- last lines\n" + "\n".join(self.lines[-15:])

    def records(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [json.loads(line) for line in self.lines]

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(20)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill_after(self, seconds: float) -> None:
        """`kill` at a moment that nothing inside it decides: only real time can do that."""
        await asyncio.sleep(seconds)
        self.kill()

    async def freeze(self, seconds: float) -> None:
        """Stops it in its tracks for so long; no clock of a test's own stops with it."""
        self.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.send(signal.SIGCONT)

    async def exit_code(self, *, within: float = 40.0) -> int:
        """Its exit code once it has ended, negative after a signal."""
        await wait_until(lambda: self.process.poll() is not None, f"process {self.pid} ends", within=within)
        return self.process.wait()

    async def ready(self, *, within: float = START_SECONDS) -> None:
        """Returns once it answers; `url` is known then."""
        await wait_until(self._is_up, "callboard is up", within=within)

    async def logged(self, message: str, *, within: float = 30.0) -> dict[str, Any]:
        """The first log line with that message."""

        def found() -> dict[str, Any] | None:
            assert self.process.poll() is None or message in self.out.read_text(), self.told
            return next((record for record in self.records() if record["message"] == message), None)

        line = await wait_until(found, f"the log says {message!r}", within=within)
        assert line is not None
        return line

    def client(self, **headers: str) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=64)
        return httpx2.AsyncClient(
            base_url=self.url, timeout=15.0, trust_env=False, limits=limits, headers=headers or None
        )

    def slack_client(self) -> httpx2.AsyncClient:
        """Slack's requests come to the same port."""
        return self.client()

    def resident_kib(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    def _is_up(self) -> bool:
        for line in self.lines:
            if '"callboard is up"' in line:
                self.url = str(json.loads(line)["url"])
                return True
        assert self.process.poll() is None, f"ended with {self.process.returncode} before it was up\n{self.told}"
        return False


def launch(premises: Premises, *arguments: str, prefix: Sequence[str] = (), **environment: str) -> EmbeddedProcess:
    """Starts the process and does not wait; whoever calls this kills it."""
    premises.starts += 1
    out = premises.root / f"stdout.{premises.starts}"
    err = premises.root / f"stderr.{premises.starts}"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, sys.executable, *COMMAND, "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=premises.variables(**environment),
            cwd=premises.root,
        )
    return EmbeddedProcess(process, out, err)


@contextlib.asynccontextmanager
async def running(premises: Premises, *arguments: str, **environment: str) -> AsyncIterator[EmbeddedProcess]:
    """A process that is up; killed at the end if it still runs."""
    process = launch(premises, *arguments, **environment)
    try:
        await process.ready()
        yield process
    finally:
        process.kill()


async def invoke(client: httpx2.AsyncClient, agent: str, text: Any, **more: Any) -> str:
    """The id of a task that was accepted."""
    answer = await client.post("/api/v1/agents/invoke", json={"agent": agent, "input": text, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


async def result(client: httpx2.AsyncClient, task_id: str, *, within: float = 30.0) -> Mapping[str, Any]:
    """What a task came to, once it has ended."""

    async def ended() -> Mapping[str, Any] | None:
        answer = await client.get(f"/api/v1/agents/result/{task_id}")
        if answer.status_code == 200:
            return dict(answer.json())
        assert answer.status_code == 409, answer.text
        await asyncio.sleep(0.02)
        return None

    document: Mapping[str, Any] | None = await wait_until(ended, f"task {task_id} ends", within=within)
    assert document is not None
    return document
