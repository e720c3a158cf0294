"""Where the servers' programs are on this machine: Debian puts most of them beside PATH."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

APT_PACKAGES = {"postgres": "postgresql", "redis": "redis-server", "rabbitmq": "rabbitmq-server"}
"""What brings them on Debian and Ubuntu."""

_BESIDE_PATH = {
    "postgres": ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"),
    "initdb": ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"),
    "redis-server": ("/opt/homebrew/bin", "/usr/local/bin"),
    # Not /usr/sbin/rabbitmq-server: that wrapper gives up root and the environment.
    "rabbitmq-server": ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin"),
    "epmd": ("/usr/lib/erlang/bin", "/usr/lib/erlang/erts-*/bin", "/opt/homebrew/bin"),
}
_NEEDED = {
    "postgres": ("initdb", "postgres"),
    "redis": ("redis-server",),
    "rabbitmq": ("rabbitmq-server", "epmd"),
}


class ServerMissingError(RuntimeError):
    """The programs of a server are not on this machine; the message says what brings them."""


@functools.cache
def find(program: str) -> str | None:
    """The path of a program: the newest of the usual places, else whatever PATH has."""
    for pattern in _BESIDE_PATH.get(program, ()):
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), key=_version, reverse=True):
            if (folder / program).exists():
                return str(folder / program)
    return shutil.which(program)


def required(program: str) -> str:
    """The path of a program; ServerMissingError without it."""
    path = find(program)
    if path is None:
        server = next(name for name, programs in _NEEDED.items() if program in programs)
        raise ServerMissingError(f"{program} is not on this machine; on Debian: apt-get install {APT_PACKAGES[server]}")
    return path


def is_installed(server: str) -> bool:
    """Whether postgres, redis or rabbitmq can be started here as a process."""
    return all(find(program) is not None for program in _NEEDED[server])


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(digits) for part in folder.parts for digits in ["".join(filter(str.isdigit, part))] if digits)
