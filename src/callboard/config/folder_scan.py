"""What has settled in the watched folders: found by looking, never trusted to events (DESIGN.md, R23)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from callboard.config.problems import Problem
from callboard.config.safe_reading import Content, Stamp, is_meant, read_file, stamp_of
from callboard.config.script_scan import ScriptPlace, ScriptScan
from callboard.config.settling import SETTLE_SECONDS, Read, Seen, read_settled, stamped

REHASH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """A folder and how messages name it, such as `config/agents`."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found: contents that are new and have settled, paths that are gone, and whether more is to come.

    Paths in `unread` exist and have not held still since the first look; folders in `unlisted` cannot be looked at.
    `scripts` is what is new in the script files that are followed.
    """

    changed: tuple[Content, ...]
    gone: tuple[str, ...]
    unsettled: bool
    unread: tuple[str, ...]
    unlisted: tuple[str, ...] = ()
    scripts: tuple[Content, ...] = ()


@dataclass(slots=True)
class FolderScan:
    """Remembers every path's stamp and content digest from look to look. Not for two threads at once.

    A path is reported once for each content that it held unchanged for 250 ms, however often it was written meanwhile.
    A folder that is missing holds no files; one that exists and cannot be listed keeps the files it had. What lies
    directly in a folder is meant as an agent, what lies in a subfolder never is: it is read where an agent names it.
    """

    folders: Sequence[WatchedFolder]
    read: Read = read_file
    meant: Callable[[str], bool] = is_meant
    _seen: dict[str, Seen] = field(default_factory=dict)
    _rehashed: float | None = None
    _scripts: ScriptScan = field(init=False)

    def __post_init__(self) -> None:
        self._scripts = ScriptScan({folder.label: folder.path for folder in self.folders})

    @property
    def followed(self) -> frozenset[ScriptPlace]:
        """The script files that looks include."""
        return self._scripts.followed

    def follow(self, scripts: Collection[ScriptPlace]) -> None:
        """Includes these script files in each look, and no others. Not while a look is under way."""
        if scripts != self._scripts.followed:
            self._scripts.follow(scripts)

    def watched(self) -> list[Path]:
        """Every folder in which something may happen."""
        return [*(folder.path for folder in self.folders), *sorted(self._scripts.containing())]

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
            names, problem = _names(folder.path, self.meant)
            if names is None:
                prefix = folder.label + "/"
                present.update(path for path in self._seen if path.startswith(prefix))
                changed += self._folder_refused(folder, problem, present)
                unlisted.append(folder.label)
                continue
            for name, stamp in names.items():
                shown_path = f"{folder.label}/{printable(name)}"
                present.add(shown_path)
                seen = stamped(self._seen, shown_path, stamp, monotonic, wall if first else None)
                if not seen.settled or rehash:
                    content = read_settled(seen, self.read, folder.path, name, shown_path, monotonic)
                    changed += [content] if content is not None else []
        gone = [path for path in self._seen.keys() - present if self._is_gone(path, monotonic)]
        for path in gone:
            del self._seen[path]
        scripts = self._scripts.look(monotonic, wall, rehash=rehash)
        return Look(
            changed=tuple(changed),
            gone=tuple(sorted(gone)),
            unsettled=any(not seen.settled for seen in self._seen.values()) or self._scripts.unsettled(),
            unread=tuple(path for path, seen in self._seen.items() if seen.digest is None),
            unlisted=tuple(unlisted),
            scripts=scripts,
        )

    def _is_gone(self, path: str, now: float) -> bool:
        seen = self._seen[path]
        if seen.stamp is not None:
            self._seen[path] = Seen(None, now, seen.digest)
            return False
        return now - seen.since >= SETTLE_SECONDS

    def _folder_refused(self, folder: WatchedFolder, reason: str, present: set[str]) -> list[Content]:
        problem = Problem(
            file=folder.label,
            line=1,
            column=1,
            message=f"the folder cannot be listed: {reason}",
            hint="check its owner and mode; what it had goes on as it was",
        )
        present.add(folder.label)
        known = self._seen.get(folder.label)
        if known is not None and known.digest == reason:
            return []
        self._seen[folder.label] = Seen(Stamp(reason, 0, 0, 0, 0, 0), 0.0, reason, settled=True)
        return [Content(path=folder.label, digest=reason, problem=problem)]


def printable(name: str) -> str:
    """A file's name as it may stand in messages and in the database: unprintable bytes and signs as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _names(folder: Path, meant: Callable[[str], bool]) -> tuple[dict[str, Stamp] | None, str]:
    """The names that are meant, with their stamps; (None, reason) for a folder that cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            found = ((entry.name, stamp_of(entry)) for entry in entries if meant(entry.name))
            return {name: stamp for name, stamp in sorted(found, key=itemgetter(0)) if stamp is not None}, ""
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return None, os.strerror(error.errno) if error.errno else str(error)
