"""Run a command beside private servers: `python -m tests.support.servers CMD …` (what scripts/servers calls).

Exits as the command does. A server that cannot be had here is named on stderr, and the command runs without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.support.servers.binaries import APT_PACKAGES, is_installed
from tests.support.servers.docker_server import docker_works, in_docker
from tests.support.servers.postgres_server import PostgresServer
from tests.support.servers.rabbit_server import RabbitServer
from tests.support.servers.redis_server import RedisServer
from tests.support.servers.server_process import dying_with_parent
from tests.support.servers.session_servers import POSTGRES_URL, RABBITMQ_MANAGEMENT_URL, RABBITMQ_URL, REDIS_URL

_OWN_END_SECONDS = 30.0


@contextlib.asynccontextmanager
async def _process(server: str, folder: Path) -> AsyncIterator[Mapping[str, str]]:
    if server == "postgres":
        # Nobody kills this one: without fsync each test's database is copied in a tenth of the time.
        async with PostgresServer(folder, durable=False, max_connections=500) as postgres:
            yield {POSTGRES_URL: postgres.url}
    elif server == "redis":
        async with RedisServer(folder) as redis:
            yield {REDIS_URL: redis.url}
    else:
        async with RabbitServer(folder) as rabbit:
            yield {RABBITMQ_URL: rabbit.url, RABBITMQ_MANAGEMENT_URL: rabbit.management_url}


@contextlib.asynccontextmanager
async def _all(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Every server that can be had, started side by side."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for server, package in APT_PACKAGES.items():
            if is_installed(server):
                opened.append(stack.enter_async_context(_process(server, folder / server)))
            elif docker_works():
                opened.append(stack.enter_async_context(in_docker(server)))
            else:
                _say(f"{server} is not on this machine: install it (Debian: apt-get install {package}) or Docker")
        urls: dict[str, str] = {}
        # gather() leaves the others running when one fails; each must be on the stack before that is told.
        for outcome in await asyncio.gather(*opened, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            urls.update(outcome)
        yield urls


async def _run(command: list[str]) -> int:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    told_by: set[signal.Signals] = set()

    def tell(number: signal.Signals) -> None:
        told_by.add(number)
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, tell, number)
    with tempfile.TemporaryDirectory(prefix="callboard-servers-") as folder:
        async with _all(Path(folder)) as urls:
            if told.is_set():
                return 130
            process = await asyncio.create_subprocess_exec(*dying_with_parent(), *command, env={**os.environ, **urls})
            ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(told.wait())
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            # Ctrl-C has reached the command too: it says what it has found so far and ends by itself.
            if signal.SIGINT in told_by:
                await asyncio.wait([ended], timeout=_OWN_END_SECONDS)
            for end in (process.terminate, process.kill):
                if not ended.done():
                    end()
                    await asyncio.wait([ended], timeout=_OWN_END_SECONDS)
            code = await ended
            return code if code >= 0 else 128 - code


def _say(line: str) -> None:
    sys.stderr.write(f"scripts/servers: {line}\n")


def main() -> int:
    command = sys.argv[1:]
    if not command:
        _say("which command? e.g. scripts/servers .venv/bin/pytest tests/contract")
        return 2
    return asyncio.run(_run(command))


if __name__ == "__main__":
    sys.exit(main())
