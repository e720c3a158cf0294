"""Definitions as the database keeps them: numbered immutable copies, and which of them are in force.

Generic over the kind of thing defined (today only `agent`); a definition is JSON here, `config` gives it its type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callboard.messaging.events import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One accepted content of one name; versions of a name grow by one and are never changed."""

    name: str
    version: int
    digest: str
    path: str
    source: str
    definition: Mapping[str, Any]
    warnings: tuple[str, ...]
    actor: Actor
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """A name in a catalog: the version in force, and the newest one, which differs while a pin holds.

    `digest` belongs to the version in force, `latest_digest` to the newest, which is what the file last held.
    """

    name: str
    path: str
    version: int
    digest: str
    pinned: bool
    latest: int
    latest_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutVersion:
    """The file at `path` defines `name` so; content equal to the newest version of the name is no new version."""

    name: str
    path: str
    digest: str
    source: str
    definition: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionRecord:
    """What stands in a file and was refused. `version` is the number it would have had, where its name is known.

    `problems` are mappings with file, line, column, message and hint, in the order of the lines, at least one.
    """

    path: str
    name: str | None
    version: int | None
    digest: str
    problems: tuple[Mapping[str, Any], ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChanges:
    """What one look at the files brings, applied whole or not at all.

    `expected` is the number of the catalog that the decision was made from. `rejections` are all that hold now.
    """

    expected: int
    puts: Sequence[PutVersion] = ()
    removes: Sequence[str] = ()
    rejections: Sequence[RejectionRecord] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogHead:
    """A catalog's number and everything in it."""

    number: int
    entries: Sequence[EntryRecord]
