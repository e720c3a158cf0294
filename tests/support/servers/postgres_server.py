"""A private PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import asyncpg

from tests.support.servers.binaries import required
from tests.support.servers.ports import free_port
from tests.support.servers.server_process import ServerProcess, dying_with_parent

_USER = "callboard"
_PASSWORD = "callboard"


class PostgresServer(ServerProcess):
    """PostgreSQL with a superuser and passwords over TCP, 200 connections.

    Root may not run it: then another user does, in a folder under the temporary folder, since that user cannot
    look into root's. `durable=False` gives up fsync, for servers that nobody kills.
    """

    name = "postgres"
    _ended_by = signal.SIGINT  # "fast": sessions are ended, not waited for

    def __init__(self, folder: Path, *, durable: bool = True, max_connections: int = 200) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._durable = durable
        self._max_connections = max_connections
        self._owner = _other_user() if os.geteuid() == 0 else None
        self._data = folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}:{_PASSWORD}@127.0.0.1:{self.port}/postgres"

    async def aclose(self) -> None:
        await super().aclose()
        if self._owner is not None:
            shutil.rmtree(self._data.parent, ignore_errors=True)

    def _prepare(self) -> None:
        self._prepare_folder()
        password = self._data.parent / "password"
        password.write_text(_PASSWORD)
        initdb = [required("initdb"), "-D", str(self._data), "-U", _USER, "--pwfile", str(password)]
        options = ["-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        with self.log.open("ab") as log:
            subprocess.run(
                [*self._as_owner(), *initdb, *options], check=True, stdout=log, stderr=log, cwd=self._data.parent
            )

    def _prepare_folder(self) -> None:
        if self._owner is not None:
            place = Path(tempfile.mkdtemp(prefix="callboard-postgres-", dir=_open_to_all()))
            os.chown(place, self._owner.pw_uid, self._owner.pw_gid)
            self._data = place / "data"

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            "shared_buffers": "128MB",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self._as_owner(), required("postgres"), "-D", str(self._data), "-p", str(self.port), *options]

    def _as_owner(self) -> list[str]:
        if self._owner is None:
            return []
        owner = ["--reuid", str(self._owner.pw_uid), "--regid", str(self._owner.pw_gid), "--clear-groups"]
        return [*(dying_with_parent() or ["setpriv"]), *owner]

    async def _is_ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


def _open_to_all() -> Path:
    """A temporary folder that another user can reach: TMPDIR may lie in a home."""
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - a private folder in it
        if all(folder.stat().st_mode & 0o001 for folder in (place, *place.parents)):
            return place
    raise RuntimeError("PostgreSQL runs as another user, who can reach neither TMPDIR nor /tmp nor /var/tmp")


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it")
