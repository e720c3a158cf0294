"""The script files that agents name, looked at beside the folders: only those, so that others cost nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from callboard.config.safe_reading import Content, read_script, stamp_of
from callboard.config.settling import ABSENT, Read, Seen, read_settled, stamped


@dataclass(frozen=True, slots=True)
class ScriptPlace:
    """A script file: the label of the watched folder, and its path below it, such as `scripts/weather.yaml`."""

    folder: str
    name: str

    @property
    def path(self) -> str:
        """How messages name it."""
        return f"{self.folder}/{self.name}"


@dataclass(slots=True)
class ScriptScan:
    """Remembers the followed files from look to look; `folders` are the watched ones by label.

    Each content that a file held unchanged for 250 ms is reported once; that there is none is a content too.
    """

    folders: Mapping[str, Path]
    read: Read = read_script
    followed: frozenset[ScriptPlace] = frozenset()
    _seen: dict[str, Seen] = field(default_factory=dict)

    def follow(self, places: Collection[ScriptPlace]) -> None:
        """Looks at these from now on and forgets all others."""
        self.followed = frozenset(places)
        paths = {place.path for place in places}
        self._seen = {path: seen for path, seen in self._seen.items() if path in paths}

    def containing(self) -> frozenset[Path]:
        """The folders in which the followed files are or are to be."""
        return frozenset(self.folders[place.folder] / PurePath(place.name).parent for place in self.followed)

    def look(self, monotonic: float, wall: float, *, rehash: bool) -> tuple[Content, ...]:
        """What is new and has settled."""
        found: list[Content] = []
        for place in sorted(self.followed, key=lambda place: place.path):
            folder = self.folders[place.folder]
            stamp = stamp_of(folder / place.name) or ABSENT
            first = place.path not in self._seen
            seen = stamped(self._seen, place.path, stamp, monotonic, wall if first else None)
            if not seen.settled or rehash:
                content = read_settled(seen, self.read, folder, place.name, place.path, monotonic)
                found += [content] if content is not None else []
        return tuple(found)

    def unsettled(self) -> bool:
        """Whether a followed file is not known in the content it has."""
        return any(not seen.settled for seen in self._seen.values())
