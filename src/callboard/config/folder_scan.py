"""What has settled in the watched folders: found by looking, never trusted to events (DESIGN.md, R23)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from callboard.config.problems import Problem
from callboard.config.safe_reading import Content, Stamp, is_meant, read_file, stamp_of

SETTLE_SECONDS = 0.25
REHASH_SECONDS = 10.0

Read = Callable[[Path, str, str], Content]


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """A folder and how messages name it, such as `config/agents`."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found: contents that are new and have settled, paths that are gone, and whether more is to come.

    Paths in `unread` exist and have not held still since the first look; folders in `unlisted` cannot be looked at.
    """

    changed: tuple[Content, ...]
    gone: tuple[str, ...]
    unsettled: bool
    unread: tuple[str, ...]
    unlisted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    stamp: Stamp | None
    since: float
    digest: str | None = None
    settled: bool = False


@dataclass(slots=True)
class FolderScan:
    """Remembers every path's stamp and content digest from look to look. Not for two threads at once.

    A path is reported once for each content that it held unchanged for 250 ms, however often it was written meanwhile.
    A folder that is missing holds no files; one that exists and cannot be listed keeps the files it had.
    """

    folders: Sequence[WatchedFolder]
    read: Read = read_file
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _rehashed: float | None = None

    def look(self, monotonic: float, wall: float) -> Look:
        """One look; `wall` is the time that files' modification times are compared with, at the first sight only."""
        rehash = self._rehashed is not None and monotonic - self._rehashed >= REHASH_SECONDS
        first = self._rehashed is None
        if rehash or first:
            self._rehashed = monotonic
        changed: list[Content] = []
        present: set[str] = set()
        unlisted: list[str] = []
        for folder in self.folders:
            names, problem = _names(folder.path)
            if names is None:
                prefix = folder.label + "/"
                present.update(path for path in self._seen if path.startswith(prefix))
                changed += self._folder_refused(folder, problem, present)
                unlisted.append(folder.label)
                continue
            for name, stamp in names.items():
                shown_path = f"{folder.label}/{printable(name)}"
                present.add(shown_path)
                seen = self._stamped(shown_path, stamp, monotonic, wall if first else None)
                if not seen.settled or rehash:
                    changed += self._read_settled(folder.path / name, shown_path, seen, monotonic)
        gone = [path for path in self._seen.keys() - present if self._is_gone(path, monotonic)]
        for path in gone:
            del self._seen[path]
        return Look(
            changed=tuple(changed),
            gone=tuple(sorted(gone)),
            unsettled=any(not seen.settled for seen in self._seen.values()),
            unread=tuple(path for path, seen in self._seen.items() if seen.digest is None),
            unlisted=tuple(unlisted),
        )

    def _stamped(self, path: str, stamp: Stamp, now: float, wall: float | None) -> _Seen:
        seen = self._seen.get(path)
        if seen is not None and seen.stamp == stamp:
            return seen
        old = wall is not None and not 0 <= wall - stamp.modified_ns / 1e9 < SETTLE_SECONDS
        since = now - SETTLE_SECONDS if old else now
        seen = self._seen[path] = _Seen(stamp, since, seen.digest if seen else None)
        return seen

    def _read_settled(self, file: Path, path: str, seen: _Seen, now: float) -> list[Content]:
        """The content, once, if it is new; nothing while the file is being written."""
        if now - seen.since < SETTLE_SECONDS:
            return []
        content = self.read(file.parent, file.name, path)
        if stamp_of(file) != seen.stamp:
            seen.settled = False
            return []
        seen.settled = True
        if content.digest == seen.digest:
            return []
        seen.digest = content.digest
        return [content]

    def _is_gone(self, path: str, now: float) -> bool:
        seen = self._seen[path]
        if seen.stamp is not None:
            self._seen[path] = _Seen(None, now, seen.digest)
            return False
        return now - seen.since >= SETTLE_SECONDS

    def _folder_refused(self, folder: WatchedFolder, reason: str, present: set[str]) -> list[Content]:
        problem = Problem(
            file=folder.label,
            line=1,
            column=1,
            message=f"the folder cannot be listed: {reason}",
            hint="check its owner and mode; its agents go on as they were",
        )
        present.add(folder.label)
        known = self._seen.get(folder.label)
        if known is not None and known.digest == reason:
            return []
        self._seen[folder.label] = _Seen(Stamp(reason, 0, 0, 0, 0, 0), 0.0, reason, settled=True)
        return [Content(path=folder.label, digest=reason, problem=problem)]


def printable(name: str) -> str:
    """A file's name as it may stand in messages and in the database: unprintable bytes and signs as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _names(folder: Path) -> tuple[dict[str, Stamp] | None, str]:
    """The names that are meant as agents, with their stamps; (None, reason) for a folder that cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            found = ((entry.name, stamp_of(entry)) for entry in entries if is_meant(entry.name))
            return {name: stamp for name, stamp in sorted(found, key=itemgetter(0)) if stamp is not None}, ""
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return None, os.strerror(error.errno) if error.errno else str(error)
