"""A server in a container, for machines that have Docker but not the server's programs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support.servers.ports import free_port
from tests.support.servers.rabbit_management import RabbitManagement
from tests.support.servers.session_servers import POSTGRES_URL, RABBITMQ_MANAGEMENT_URL, RABBITMQ_URL, REDIS_URL
from tests.support.waiting import wait_until

_PULL_SECONDS = 300.0
_START_SECONDS = 90.0
_LOGIN = "callboard:callboard"


def docker_works() -> bool:
    """Whether a Docker engine answers this user."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


@contextlib.asynccontextmanager
async def in_docker(server: str) -> AsyncIterator[Mapping[str, str]]:
    """Run postgres, redis or rabbitmq in a container; what it yields are the environment variables that name it."""
    async with _SERVERS[server]() as urls:
        yield urls


@contextlib.asynccontextmanager
async def _postgres() -> AsyncIterator[Mapping[str, str]]:
    port = free_port()
    login = ["-e", "POSTGRES_USER=callboard", "-e", "POSTGRES_PASSWORD=callboard", "-e", "POSTGRES_DB=postgres"]
    url = f"postgresql://{_LOGIN}@127.0.0.1:{port}/postgres"

    async def answers() -> bool:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    # The official image serves a socket only while it initialises: an answer over TCP is the final server's.
    async with _container([*_published(port, 5432), *login], "postgres:15", ["-c", "max_connections=500"]):
        await wait_until(answers, f"PostgreSQL in Docker answers at {url}", within=_START_SECONDS)
        yield {POSTGRES_URL: url}


@contextlib.asynccontextmanager
async def _redis() -> AsyncIterator[Mapping[str, str]]:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"

    async def answers() -> bool:
        async with Redis.from_url(url) as client:
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False

    async with _container(_published(port, 6379), "redis:7", ["redis-server", "--databases", "64"]):
        await wait_until(answers, f"Redis in Docker answers at {url}", within=_START_SECONDS)
        yield {REDIS_URL: url}


@contextlib.asynccontextmanager
async def _rabbitmq() -> AsyncIterator[Mapping[str, str]]:
    port, management_port = free_port(), free_port()
    login = ["-e", "RABBITMQ_DEFAULT_USER=callboard", "-e", "RABBITMQ_DEFAULT_PASS=callboard"]
    management = f"http://{_LOGIN}@127.0.0.1:{management_port}"
    ports = [*_published(port, 5672), *_published(management_port, 15672)]
    async with _container([*ports, *login], "rabbitmq:3-management", []):
        await wait_until(RabbitManagement(management).is_ready, "RabbitMQ in Docker answers", within=_START_SECONDS)
        yield {RABBITMQ_URL: f"amqp://{_LOGIN}@127.0.0.1:{port}/", RABBITMQ_MANAGEMENT_URL: management}


@contextlib.asynccontextmanager
async def _container(options: list[str], image: str, command: list[str]) -> AsyncIterator[None]:
    started = await asyncio.create_subprocess_exec(
        "docker", "run", "--detach", "--rm", *options, image, *command, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(started.communicate(), _PULL_SECONDS)
    if started.returncode != 0:
        raise RuntimeError(f"docker run {image} failed; try: docker pull {image}")
    identity = output.decode().strip()
    try:
        yield
    finally:
        removed = await asyncio.create_subprocess_exec(
            "docker", "rm", "--force", "--volumes", identity, stdout=asyncio.subprocess.DEVNULL
        )
        await removed.wait()


def _published(port: int, inside: int) -> list[str]:
    return ["-p", f"127.0.0.1:{port}:{inside}"]


_SERVERS: Mapping[str, Callable[[], contextlib.AbstractAsyncContextManager[Mapping[str, str]]]] = MappingProxyType(
    {"postgres": _postgres, "redis": _redis, "rabbitmq": _rabbitmq}
)
