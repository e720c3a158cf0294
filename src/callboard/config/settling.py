"""When a file that is being written counts: once it has held still, and once for each content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from callboard.config.safe_reading import Content, Stamp, stamp_of

SETTLE_SECONDS = 0.25
ABSENT = Stamp("absent", 0, 0, 0, 0, 0)
"""The stamp of a file that is wanted and not there."""

Read = Callable[[Path, str, str], Content]
"""(folder, name in it, path for messages) → what stands there."""


@dataclass(slots=True)
class Seen:
    """One path from look to look; `digest` is that of the content last reported."""

    stamp: Stamp | None
    since: float
    digest: str | None = None
    settled: bool = False


def stamped(known: dict[str, Seen], path: str, stamp: Stamp, now: float, wall: float | None) -> Seen:
    """Enters a path's stamp into `known`.

    With `wall` (at the first sight) a file whose modification time is over counts as settled, so that nobody waits.
    """
    seen = known.get(path)
    if seen is not None and seen.stamp == stamp:
        return seen
    old = wall is not None and stamp != ABSENT and not 0 <= wall - stamp.modified_ns / 1e9 < SETTLE_SECONDS
    seen = known[path] = Seen(stamp, now - SETTLE_SECONDS if old else now, seen.digest if seen else None)
    return seen


def read_settled(seen: Seen, read: Read, folder: Path, name: str, path: str, now: float) -> Content | None:
    """The content, once, if it is new; None while the file is being written."""
    if now - seen.since < SETTLE_SECONDS:
        return None
    content = read(folder, name, path)
    if (stamp_of(folder / name) or ABSENT) != seen.stamp:
        seen.settled = False
        return None
    seen.settled = True
    if content.digest == seen.digest:
        return None
    seen.digest = content.digest
    return content
