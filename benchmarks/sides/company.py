"""The distributed system under measurement: a process a role, as the compose file runs them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers.ports import free_port

from benchmarks.child import SECRET

START_SECONDS = 20.0
BACKGROUND = ("state-manager", "config-service", "event-bus")
"""What every deployment has running beside the roles that are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A role's process that is healthy."""

    role: str
    process: Process
    health_port: int
    public_port: int

    @property
    def pid(self) -> int:
        return self.process.pid


@dataclass(slots=True, kw_only=True)
class Company:
    """The processes that run, and the environment that all of them have."""

    folder: Path
    environment: Mapping[str, str]
    members: list[Member] = field(default_factory=list)

    async def hire(self, role: str, **more: str) -> Member:
        """One more process of the role, healthy when this returns."""
        health, public = free_port(), free_port()
        environment = {
            **self.environment,
            "CALLBOARD_HEALTH_PORT": str(health),
            "CALLBOARD_PORT": str(public),
            **more,
        }
        output = (self.folder / f"{role}.{health}.txt").open("wb")
        command = [sys.executable, "-c", "from callboard.cli.main import main; main()", "serve", role]
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self.folder, stdout=output, stderr=output
        )
        output.close()
        member = Member(role=role, process=process, health_port=health, public_port=public)
        self.members.append(member)
        await self._until_healthy(member)
        return member

    async def dismiss(self, member: Member) -> None:
        with contextlib.suppress(ProcessLookupError):
            member.process.terminate()
        try:
            async with asyncio.timeout(15):
                await member.process.wait()
        except TimeoutError:
            member.process.kill()
        self.members.remove(member)

    def output(self, member: Member) -> str:
        return (self.folder / f"{member.role}.{member.health_port}.txt").read_text()

    async def _until_healthy(self, member: Member) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if member.process.returncode is not None:
                raise RuntimeError(f"{member.role} ended: {self.output(member)[-2000:]}")
            if await asyncio.to_thread(_healthy, member.health_port):
                return
            await asyncio.sleep(0.02)
        why = await asyncio.to_thread(_health, member.health_port)
        raise RuntimeError(f"{member.role} is not healthy: {why} {self.output(member)[-2000:]}")


def environment(*, database_url: str, rabbitmq_url: str, redis_url: str | None, folder: Path) -> dict[str, str]:
    """What every role reads; the servers are the benchmark's."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "HOME") if name in os.environ}
    return {
        **inherited,
        "DATABASE_URL": database_url,
        "RABBITMQ_URL": rabbitmq_url,
        **({"REDIS_URL": redis_url} if redis_url else {}),
        "CALLBOARD_AGENTS": str(folder / "agents"),
        "CALLBOARD_DATA": str(folder / "data"),
        "CALLBOARD_LOGS": str(folder / "logs"),
        "CALLBOARD_API_TOKEN": "token-of-the-measurement",
        "SLACK_SIGNING_SECRET": SECRET,
        "SLACK_BOT_TOKEN": "xoxb-benchmark",
    }


@contextlib.asynccontextmanager
async def company(
    agents: Mapping[str, str],
    roles: Sequence[str],
    *,
    database_url: str,
    rabbitmq_url: str,
    redis_url: str | None = None,
    **more: str,
) -> AsyncIterator[Company]:
    """Runs the roles over these agent files (name → YAML); `more` are environment variables."""
    with tempfile.TemporaryDirectory(prefix="callboard-benchmark-") as name:
        folder = Path(name)
        (folder / "agents").mkdir()
        for agent, text in agents.items():
            (folder / "agents" / f"{agent}.yaml").write_text(text)
        given = environment(database_url=database_url, rabbitmq_url=rabbitmq_url, redis_url=redis_url, folder=folder)
        running = Company(folder=folder, environment={**given, **more})
        try:
            for role in (*BACKGROUND, *roles):
                await running.hire(role)
            yield running
        finally:
            await asyncio.gather(*(running.dismiss(member) for member in tuple(running.members)))


def _healthy(port: int) -> bool:
    return _health(port).startswith("200")


def _health(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    except OSError as error:
        return str(error)
