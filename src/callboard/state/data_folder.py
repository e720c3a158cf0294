"""The data folder of an embedded system: one process at a time, and proof that the one before is gone."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from callboard.errors import ConflictError, UnavailableError

LOCK_FILE = "callboard.lock"
DATABASE_FILE = "callboard.db"


class DataFolder:
    """Holds the folder while its context is entered. The lock is the kernel's: it ends with the process, however that
    ends, so whoever gets it knows that the former owner is gone (DESIGN.md, R15)."""

    def __init__(self, path: Path, database_file: str = DATABASE_FILE) -> None:
        self.path = path
        self._database_file = database_file
        self._descriptor: int | None = None

    @property
    def database(self) -> Path:
        return self.path / self._database_file

    def __enter__(self) -> Self:
        """Raises ConflictError naming the process that holds the folder, UnavailableError if it cannot be used."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UnavailableError(f"the data folder {self.path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise ConflictError(
                f"the data folder {self.path} is in use by {holder}: stop it, or choose another with --data",
                code="data_folder_in_use",
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, orjson.dumps({"pid": os.getpid(), "command": " ".join(sys.argv)[:200]}), 0)
        except OSError as error:
            os.close(descriptor)
            raise UnavailableError(f"the data folder {self.path} cannot be used: {error.strerror}") from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> str:
    try:
        record = orjson.loads(os.pread(descriptor, 4096, 0))
        return f"process {record['pid']} ({record['command']})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "another process"
