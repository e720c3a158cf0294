"""`callboard up` in a process of its own, as a user starts it, and the command line beside it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.settings import Settings

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
IS_UP = "callboard is up"
_PADDING = re.compile(r" +(\x1b\[0m)?$")


class CallboardProcess:
    """One system over `folder`/{agents,data,logs}; it may be started again after it was stopped or killed.

    The settings of the person who runs the demo do not reach it: no variable of theirs, and no `.env` of the folder
    they are in.
    """

    def __init__(self, folder: Path, slack: Mapping[str, str], clock: Clock) -> None:
        self.agents = folder / "agents"
        self._folder = folder
        self._clock = clock
        self._environment = {
            **_without_settings(os.environ),
            **slack,
            "CALLBOARD_LOGS": "logs",
            "PYTHONIOENCODING": "utf-8",
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        return -1 if self._process is None else self._process.pid

    async def start(self) -> float:
        """Seconds until it answered; UnavailableError with its last line when it does not."""
        begun = self._clock.monotonic()
        arguments = ["up", "--agents", "agents", "--data", "data", "--port", "0"]
        self._process = await self._spawn(arguments, stderr=asyncio.subprocess.STDOUT)
        try:
            async with asyncio.timeout(READY_SECONDS):
                self.url = await self._address(self._process)
                self._reader = asyncio.create_task(_read_away(self._process), name="output of callboard up")
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise UnavailableError(f"callboard up ended with {self._process.returncode}")
                    await self._clock.sleep(0.02)
        except TimeoutError as error:
            raise UnavailableError(f"callboard up does not answer after {READY_SECONDS:g} s") from error
        return self._clock.monotonic() - begun

    async def kill(self) -> None:
        """kill -9: no moment to write anything down."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Asks it to stop, and makes it."""
        await self._end(signal.SIGTERM)

    async def get(self, path: str, **query: str | int) -> Any:
        """The JSON at a path of `/api/v1`; UnavailableError for what is no success."""
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False) as http:
            try:
                answer = await http.get(f"/api/v1/{path}", params=query)
            except httpx2.TransportError as error:
                raise UnavailableError(f"callboard up does not answer any more: {type(error).__name__}") from error
        if not answer.is_success:
            raise UnavailableError(f"GET {path} answered {answer.status_code}: {answer.text[:200]}")
        return orjson.loads(answer.content)

    async def command(self, *arguments: str) -> str:
        """What `callboard ARGUMENTS` prints; UnavailableError when it fails."""
        process = await self._spawn(arguments, stderr=asyncio.subprocess.PIPE)
        printed, errors = await process.communicate()
        if process.returncode != 0:
            raise UnavailableError(
                f"callboard {' '.join(arguments)} ended with {process.returncode}: {errors.decode()}"
            )
        # A table is padded to its width; its headings are so inside their colours.
        return "\n".join(_PADDING.sub(r"\1", line) for line in printed.decode().splitlines())

    async def _spawn(self, arguments: list[str] | tuple[str, ...], *, stderr: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "callboard",
            *arguments,
            cwd=self._folder,
            env={**self._environment, "CALLBOARD_API_URL": self.url or "http://127.0.0.1:9"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )

    async def _address(self, process: asyncio.subprocess.Process) -> str:
        """From the line in which it says that it is up."""
        assert process.stdout is not None  # noqa: S101  # it is piped
        last = ""
        async for line in process.stdout:
            last = line.decode(errors="replace").strip()
            with suppress(orjson.JSONDecodeError):
                record = orjson.loads(line)
                if record.get("message") == IS_UP:
                    return str(record["url"])
        raise UnavailableError(f"callboard up ended at once: {last}")

    async def _answers(self) -> bool:
        with suppress(httpx2.TransportError):
            async with httpx2.AsyncClient(base_url=self.url, trust_env=False) as http:
                return (await http.get("/health")).is_success
        return False

    async def _end(self, number: signal.Signals) -> None:
        process, reader = self._process, self._reader
        self._process = self._reader = None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if reader is None:
                    await _read_away(process)
                else:
                    await reader
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _read_away(process: asyncio.subprocess.Process) -> None:
    """A full pipe would hold it up; its log lines are in the log folder too."""
    assert process.stdout is not None  # noqa: S101  # it is piped
    async for _ in process.stdout:
        pass


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    settings = {field.alias for field in Settings.model_fields.values()}
    return {name: value for name, value in environment.items() if name not in settings}
