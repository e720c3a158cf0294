"""The copy of the log on disk: rotated by size, read back by trace id."""

from __future__ import annotations

import contextlib
import glob
import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

LOG_NAME = "callboard"
SUFFIX = ".log"
FORGOTTEN_SECONDS = 7 * 24 * 3600.0
"""After so long without a line, a file that another process left behind is deleted."""


class RotatedLogFile:
    """Appends lines to `folder/NAME.log`; a full file becomes `.1`, the older ones move up, the oldest is deleted.

    Not safe for two processes with one name in one folder; used from one thread. Errors of the disk come out as OSError
    and leave the file usable: the next line tries again.
    """

    def __init__(self, folder: Path, *, max_bytes: int, backups: int, name: str = LOG_NAME) -> None:
        self._path = folder / f"{name}{SUFFIX}"
        self._max_bytes = max_bytes
        self._backups = backups
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, lines: bytes) -> None:
        """Append whole lines; what does not fit in the present file goes to the next one."""
        if self._file is not None and self._size > 0 and self._size + len(lines) > self._max_bytes:
            self.close()
            self._rotate()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            self._size = self._file.tell()
        self._file.write(lines)
        self._size += len(lines)

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self) -> None:
        if self._backups == 0:
            self._path.unlink(missing_ok=True)
            return
        for number in range(self._backups - 1, 0, -1):
            source = _numbered(self._path, number)
            if source.exists():
                source.replace(_numbered(self._path, number + 1))
        if self._path.exists():
            self._path.replace(_numbered(self._path, 1))


def forget_left_files(folder: Path, now: float) -> None:
    """Deletes the files of processes that are long gone; `now` in seconds since the epoch.

    Every container that is made anew writes under a new name, so without this the folder would grow for ever.
    """
    for path in folder.glob(f"*{SUFFIX}*"):
        with contextlib.suppress(OSError):  # another process deletes it too, or it is not ours to delete
            if now - path.stat().st_mtime > FORGOTTEN_SECONDS:
                path.unlink()


def read_log(folder: Path, trace_id: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of all processes that log into a folder, oldest first, all or those of one trace.

    A line that was torn by a crash or is not a JSON object is passed over; a missing folder is an empty log.
    """
    names = {path.name.partition(SUFFIX)[0] for path in folder.glob(f"*{SUFFIX}*")}
    of_each = [_read_one(folder, name, trace_id) for name in sorted(names)]
    yield from heapq.merge(*of_each, key=lambda record: str(record.get("timestamp", "")))


def _read_one(folder: Path, name: str, trace_id: str | None) -> Iterator[dict[str, Any]]:
    needle = trace_id.encode() if trace_id is not None else b""
    for path in _oldest_first(folder, name):
        try:
            file = path.open("rb")
        except FileNotFoundError:  # rotated away while we read
            continue
        with file:
            for line in file:
                if needle not in line:
                    continue
                record = _parse(line)
                if record is not None and (trace_id is None or record.get("trace_id") == trace_id):
                    yield record


def _oldest_first(folder: Path, name: str) -> list[Path]:
    numbered = [
        (int(path.suffix[1:]), path)
        for path in folder.glob(f"{glob.escape(name)}{SUFFIX}.*")
        if path.suffix[1:].isascii() and path.suffix[1:].isdigit()
    ]
    return [path for _, path in sorted(numbered, reverse=True)] + [folder / f"{name}{SUFFIX}"]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
