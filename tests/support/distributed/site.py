"""What a cluster of processes stands on: addresses of servers, folders, and what is set in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.installation import Installation

LEASE_BEAT_SECONDS = 1
LEASE_DEAD_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the database, the broker and the cache are; each this cluster's own."""

    postgres: str
    rabbitmq: str
    redis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Installation):
    """What stays while processes come and go."""

    root: Path
    servers: Servers
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.make_folders()
        self.output.mkdir(parents=True, exist_ok=True)

    @property
    def output(self) -> Path:
        """What each process printed."""
        return self.root / "output"

    def variables(self, **more: str) -> dict[str, str]:
        """The whole environment of a process here."""
        return {
            **self.own_variables(),
            "DATABASE_URL": self.servers.postgres,
            "RABBITMQ_URL": self.servers.rabbitmq,
            "REDIS_URL": self.servers.redis,
            "CALLBOARD_TOOLS": str(self.agents.parent / "tools"),
            "CALLBOARD_MODELS": str(self.agents.parent / "models.yaml"),
            "CALLBOARD_HOST": "127.0.0.1",
            "CALLBOARD_HEALTH_PORT": "0",
            "CALLBOARD_LEASE_BEAT_SECONDS": str(LEASE_BEAT_SECONDS),
            "CALLBOARD_LEASE_DEAD_SECONDS": str(LEASE_DEAD_SECONDS),
            **self.environment,
            **more,
        }

    async def query(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        """Reads the database beside whoever else uses it."""
        connection = await asyncpg.connect(self.servers.postgres, timeout=10, command_timeout=30)
        try:
            return [dict(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Changes the database behind everybody's back."""
        connection = await asyncpg.connect(self.servers.postgres, timeout=10, command_timeout=30)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()
