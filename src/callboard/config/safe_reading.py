"""Reads one file of a watched folder without being led elsewhere, blocked or flooded (RELIABILITY.md, E3)."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from callboard.config.loader import MAX_BYTES
from callboard.config.problems import Problem

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.py")
_ENDING = re.compile(r"\.ya?ml(?![A-Za-z0-9._~#-])|\.ya?ml$", re.IGNORECASE)
_EDITORS = re.compile(r"^[.#~]|[~#]$")
"""Names that editors give to what they have not finished: .x.yaml.swp, .#x.yaml, #x.yaml#, x.yaml~."""
LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Stamp:
    """Changes when a file may have changed; equal stamps of a settled file mean equal content, nearly always."""

    target: str
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a path holds: bytes, or the reason why they are not read, or nothing (`absent`).

    `path` is how messages name the file.
    """

    path: str
    digest: str
    data: bytes = b""
    problem: Problem | None = None
    absent: bool = False


def is_meant(name: str) -> bool:
    """Whether a file of this name is meant to be an agent, well named or not; editors' own files are not."""
    return _ENDING.search(name) is not None and _EDITORS.search(name) is None


def is_module(name: str) -> bool:
    """Whether a file of this name is meant to be one of the project's Python files."""
    return name.endswith(".py") and _EDITORS.search(name) is None


def stamp_of(file: os.DirEntry[str] | Path) -> Stamp | None:
    """The stamp of what a name leads to; None once the name is gone. Never opens anything."""
    link = file.is_symlink()
    try:
        status = file.stat()
        target = os.path.realpath(file) if link else ""
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not link:
            return None
        return Stamp(f"error {error.errno}", 0, 0, 0, 0, 0)
    return Stamp(target, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_file(folder: Path, name: str, shown_path: str) -> Content:
    """The content of a file, or the reason why it is refused; never raises for what may stand in a folder."""
    if len(name) > LONGEST_NAME:
        return _refused(shown_path, f"a file name of {len(name)} characters", f"at most {LONGEST_NAME}")
    if not _NAME.fullmatch(name):
        return _refused(
            shown_path,
            "this file name is not allowed",
            "letters, digits, . _ - and the ending .yaml, such as standup.yaml",
        )
    return _read_within(folder, name, shown_path)


def read_module(folder: Path, name: str, shown_path: str) -> Content:
    """The content of a Python file, as guarded as an agent file's."""
    if len(name) > LONGEST_NAME:
        return _refused(shown_path, f"a file name of {len(name)} characters", f"at most {LONGEST_NAME}")
    if not _MODULE.fullmatch(name):
        return _refused(shown_path, "no module can have this name", "letters, digits and _, such as working_days.py")
    return _read_within(folder, name, shown_path)


def read_script(folder: Path, name: str, shown_path: str) -> Content:
    """The content of a file below a folder (`name` such as `scripts/weather.yaml`), as guarded as an agent file's."""
    if not os.path.lexists(folder / name):
        return Content(path=shown_path, digest=hashlib.sha256(b"absent").hexdigest(), absent=True)
    return _read_within(folder, name, shown_path)


def _read_within(folder: Path, name: str, shown_path: str) -> Content:
    try:
        target = os.path.realpath(folder / name)
        root = os.path.realpath(folder)
        if os.path.commonpath((root, target)) != root:
            return _refused(shown_path, "this link leads out of the folder", "put the file itself into the folder")
        descriptor = _open_below(root, os.path.relpath(target, root).split("/"))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _refused(
            shown_path, f"cannot be read: {reason}", "check the file's owner and mode, and where links lead"
        )
    try:
        return _read_open(descriptor, shown_path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _refused(shown_path, f"cannot be read: {reason}", "check the disk")
    finally:
        os.close(descriptor)


def _open_below(root: str, parts: list[str]) -> int:
    """Opens a resolved path; where a folder on the way becomes a link meanwhile, OSError."""
    file = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    if len(parts) == 1:
        return os.open(Path(root, parts[0]), file)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], file, dir_fd=folder)
    finally:
        os.close(folder)


def _read_open(descriptor: int, shown_path: str) -> Content:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return _refused(shown_path, "this is no regular file", "put a file into the folder, no pipe, device or folder")
    if status.st_nlink > 1:
        return _refused(
            shown_path, "this file has a second name (a hard link)", "copy it instead: cp --remove-destination"
        )
    if status.st_size > MAX_BYTES:
        size = f"the file has {status.st_size} bytes, the limit is {MAX_BYTES}"
        return _refused(shown_path, size, "move data out of the file")
    parts: list[bytes] = []
    wanted = MAX_BYTES + 1
    while wanted and (part := os.read(descriptor, wanted)):
        parts.append(part)
        wanted -= len(part)
    data = b"".join(parts)
    return Content(path=shown_path, digest=hashlib.sha256(data).hexdigest(), data=data)


def _refused(shown_path: str, message: str, hint: str) -> Content:
    problem = Problem(file=shown_path, line=1, column=1, message=message, hint=hint)
    return Content(path=shown_path, digest=hashlib.sha256(message.encode()).hexdigest(), problem=problem)
