"""A private Redis."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.servers.binaries import required
from tests.support.servers.ports import free_port
from tests.support.servers.server_process import ServerProcess

DATABASES = 64


class RedisServer(ServerProcess):
    """Redis that keeps nothing over a restart, or everything with `persistent=True` (an append-only file)."""

    name = "redis"

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._persistent = persistent

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _prepare(self) -> None:
        pass

    def _command(self) -> list[str]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        keeping = ["--save", "", "--appendonly", "yes" if self._persistent else "no"]
        return [required("redis-server"), *place, *keeping, "--databases", str(DATABASES)]

    async def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
