"""The copy of the log on disk: rotated by size, read back by trace id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

LOG_NAME = "callboard.log"


class RotatedLogFile:
    """Appends lines to `folder/callboard.log`; a full file becomes `.1`, the older ones move up, the oldest is deleted.

    Not safe for two processes on one folder; used from one thread. Errors of the disk come out as OSError and leave
    the file usable: the next line tries again.
    """

    def __init__(self, folder: Path, *, max_bytes: int, backups: int) -> None:
        self._path = folder / LOG_NAME
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


def read_log(folder: Path, trace_id: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a log folder as records, oldest first, all or those of one trace.

    A line that was torn by a crash or is not a JSON object is passed over; a missing folder is an empty log.
    """
    needle = trace_id.encode() if trace_id is not None else b""
    for path in _oldest_first(folder):
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


def _oldest_first(folder: Path) -> list[Path]:
    numbered = [
        (int(path.suffix[1:]), path)
        for path in folder.glob(f"{LOG_NAME}.*")
        if path.suffix[1:].isascii() and path.suffix[1:].isdigit()
    ]
    return [path for _, path in sorted(numbered, reverse=True)] + [folder / LOG_NAME]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
