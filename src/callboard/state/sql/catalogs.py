"""Units of work: catalogs of definitions, their versions, what was refused, and the events that tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, func, insert, or_, select, update

from callboard.errors import NotFoundError, VersionConflictError
from callboard.ids import derive_id
from callboard.messaging.events import Actor, Event, EventType
from callboard.state.catalogs import (
    CatalogChanges,
    CatalogHead,
    EntryRecord,
    PutVersion,
    RejectionRecord,
    VersionRecord,
)
from callboard.state.finishing import Consequences
from callboard.state.models import agent_versions, catalog_entries, catalog_heads, rejections
from callboard.state.sql.events import record
from callboard.state.sql.rows import actor_of, actor_record

_AT_ONCE = 400
"""Names in one statement, well under SQLite's limit of parameters."""


class CatalogUnits:
    """The units for one tenant and one kind of definition."""

    def __init__(self, tenant: str, kind: str) -> None:
        self._tenant = tenant
        self._kind = kind

    def head(self, connection: Connection, number: int | None = None) -> CatalogHead:
        """The newest catalog or the one of that number; number 0 is the empty one before the first."""
        newest = self._number(connection)
        wanted = newest if number is None else number
        if not 0 <= wanted <= newest:
            raise NotFoundError(f"no catalog {wanted}: the newest is {newest}")
        latest = (
            select(agent_versions.c.name, func.max(agent_versions.c.version).label("latest"))
            .where(self._mine(agent_versions))
            .group_by(agent_versions.c.name)
            .subquery()
        )
        newest_version, in_force = agent_versions.alias("newest"), agent_versions.alias("in_force")
        rows = connection.execute(
            select(
                catalog_entries.c.name,
                catalog_entries.c.path,
                catalog_entries.c.version,
                catalog_entries.c.pinned,
                in_force.c.digest,
                latest.c.latest,
                newest_version.c.digest.label("latest_digest"),
            )
            .join(latest, latest.c.name == catalog_entries.c.name)
            .join(in_force, self._version_of(in_force, catalog_entries.c.name, catalog_entries.c.version))
            .join(newest_version, self._version_of(newest_version, latest.c.name, latest.c.latest))
            .where(
                self._mine(catalog_entries),
                catalog_entries.c.from_number <= wanted,
                or_(catalog_entries.c.until_number.is_(None), catalog_entries.c.until_number > wanted),
            )
            .order_by(catalog_entries.c.name)
        ).mappings()
        return CatalogHead(number=wanted, entries=tuple(EntryRecord(**row) for row in rows))

    def newest(self, connection: Connection) -> int:
        """The number of the newest catalog; 0 before the first."""
        return self._number(connection)

    def apply(
        self, connection: Connection, changes: CatalogChanges, actor: Actor, trace_id: str, now: datetime
    ) -> tuple[CatalogHead, Consequences]:
        """All of it or, when the catalog has moved on meanwhile, VersionConflictError."""
        before = self._lock(connection, changes.expected, now)
        entries = {entry.name: entry for entry in before.entries}
        number = before.number + 1 if changes.puts or changes.removes else before.number
        told = self._put(connection, changes.puts, entries, number, actor, now)
        gone = [name for name in changes.removes if name in entries]
        self._end(connection, gone, number)
        told += [("removed", {"agent": name, "version": entries[name].version}) for name in gone]
        told += self._reject(connection, changes.rejections)
        self._advance(connection, number, now)
        consequences = self._tell(connection, told, number, actor, trace_id, now)
        return self.head(connection), consequences

    def pin(
        self, connection: Connection, name: str, version: int | None, actor: Actor, trace_id: str, now: datetime
    ) -> tuple[CatalogHead, Consequences]:
        """Puts that version in force and keeps it so; with None the newest one, unpinned."""
        before = self._lock(connection, None, now)
        entry = next((entry for entry in before.entries if entry.name == name), None)
        if entry is None:
            raise NotFoundError(f"no {self._kind} '{name}' is in force")
        wanted = entry.latest if version is None else version
        self.version(connection, name, wanted)
        if (wanted, version is not None) == (entry.version, entry.pinned):
            return before, Consequences()
        number = before.number + 1
        self._end(connection, [name], number)
        self._enter(connection, [self._entry(name, entry.path, wanted, number, pinned=version is not None)])
        self._advance(connection, number, now)
        told = [("changed", {"agent": name, "version": wanted, "pinned": version is not None})]
        return self.head(connection), self._tell(connection, told, number, actor, trace_id, now)

    def version(self, connection: Connection, name: str, version: int) -> VersionRecord:
        """Raises NotFoundError naming the versions there are."""
        found = self.versions(connection, [(name, version)])
        if not found:
            known = self.history(connection, name)
            there = f"there are 1 to {known[0].version}" if known else f"no {self._kind} of that name was ever accepted"
            raise NotFoundError(f"no version {version} of '{name}': {there}")
        return found[0]

    def versions(self, connection: Connection, wanted: Sequence[tuple[str, int]]) -> list[VersionRecord]:
        """Those of the wanted (name, version) that exist."""
        numbers = dict.fromkeys(wanted)
        found: list[VersionRecord] = []
        names = sorted({name for name, _ in wanted})
        for start in range(0, len(names), _AT_ONCE):
            rows = connection.execute(
                select(agent_versions).where(
                    self._mine(agent_versions),
                    agent_versions.c.name.in_(names[start : start + _AT_ONCE]),
                    agent_versions.c.version.in_(sorted({version for _, version in wanted})),
                )
            ).mappings()
            found += [_version(row) for row in rows if (row["name"], row["version"]) in numbers]
        return found

    def history(self, connection: Connection, name: str) -> list[VersionRecord]:
        """Every version of a name, newest first."""
        rows = connection.execute(
            select(agent_versions)
            .where(self._mine(agent_versions), agent_versions.c.name == name)
            .order_by(agent_versions.c.version.desc())
        ).mappings()
        return [_version(row) for row in rows]

    def rejected(self, connection: Connection) -> list[RejectionRecord]:
        """Everything that stands refused in a file now, by path."""
        rows = connection.execute(select(rejections).where(self._mine(rejections)).order_by(rejections.c.path))
        return [_rejection(row) for row in rows.mappings()]

    def _put(
        self,
        connection: Connection,
        puts: Sequence[PutVersion],
        entries: Mapping[str, EntryRecord],
        number: int,
        actor: Actor,
        now: datetime,
    ) -> list[tuple[str, dict[str, Any]]]:
        newest = self._newest(connection, [put.name for put in puts])
        told: list[tuple[str, dict[str, Any]]] = []
        fresh: list[dict[str, Any]] = []
        entered: list[dict[str, Any]] = []
        for put in puts:
            latest, digest = newest.get(put.name, (0, None))
            version = latest if digest == put.digest else latest + 1
            if digest != put.digest:
                fresh.append(self._version_row(put, version, actor, now))
            entry = entries.get(put.name)
            moved = entry is not None and digest == put.digest
            pinned = entry.pinned if entry is not None and moved else False
            in_force = entry.version if entry is not None and moved else version
            entered.append(self._entry(put.name, put.path, in_force, number, pinned=pinned))
            if not moved:
                told.append(("added" if entry is None else "changed", {"agent": put.name, "version": version}))
        if fresh:
            connection.execute(insert(agent_versions), fresh)
        self._end(connection, [put.name for put in puts if put.name in entries], number)
        self._enter(connection, entered)
        return told

    def _newest(self, connection: Connection, names: Sequence[str]) -> dict[str, tuple[int, str]]:
        newest: dict[str, tuple[int, str]] = {}
        for start in range(0, len(names), _AT_ONCE):
            rows = connection.execute(
                select(agent_versions.c.name, agent_versions.c.version, agent_versions.c.digest)
                .where(self._mine(agent_versions), agent_versions.c.name.in_(names[start : start + _AT_ONCE]))
                .order_by(agent_versions.c.version)
            )
            newest.update({row.name: (row.version, row.digest) for row in rows})
        return newest

    def _version_row(self, put: PutVersion, version: int, actor: Actor, now: datetime) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "kind": self._kind,
            "name": put.name,
            "version": version,
            "digest": put.digest,
            "path": put.path,
            "source": put.source,
            "definition": dict(put.definition),
            "warnings": list(put.warnings),
            "actor": actor_record(actor),
            "created_at": now,
        }

    def _entry(self, name: str, path: str, version: int, number: int, *, pinned: bool) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "kind": self._kind,
            "name": name,
            "from_number": number,
            "until_number": None,
            "path": path,
            "version": version,
            "pinned": pinned,
        }

    def _enter(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            connection.execute(insert(catalog_entries), rows)

    def _end(self, connection: Connection, names: Sequence[str], number: int) -> None:
        for start in range(0, len(names), _AT_ONCE):
            connection.execute(
                update(catalog_entries)
                .where(
                    self._mine(catalog_entries),
                    catalog_entries.c.name.in_(names[start : start + _AT_ONCE]),
                    catalog_entries.c.until_number.is_(None),
                )
                .values(until_number=number)
            )

    def _reject(self, connection: Connection, refused: Sequence[RejectionRecord]) -> list[tuple[str, dict[str, Any]]]:
        """Makes `refused` all that is rejected; tells of what was not before."""
        known = {record.path: record for record in self.rejected(connection)}
        wanted = {item.path: item for item in refused}
        outdated = [path for path in known if path not in wanted or not _same(known[path], wanted[path])]
        fresh = [item for path, item in wanted.items() if path not in known or path in outdated]
        for start in range(0, len(outdated), _AT_ONCE):
            connection.execute(
                delete(rejections).where(
                    self._mine(rejections), rejections.c.path.in_(outdated[start : start + _AT_ONCE])
                )
            )
        if fresh:
            connection.execute(insert(rejections), [self._rejection_row(item) for item in fresh])
        return [("rejected", _refusal_told(item)) for item in fresh]

    def _rejection_row(self, item: RejectionRecord) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "kind": self._kind,
            "path": item.path,
            "name": item.name,
            "version": item.version,
            "digest": item.digest,
            "problems": [dict(problem) for problem in item.problems],
            "created_at": item.created_at,
        }

    def _tell(
        self,
        connection: Connection,
        told: Sequence[tuple[str, dict[str, Any]]],
        number: int,
        actor: Actor,
        trace_id: str,
        now: datetime,
    ) -> Consequences:
        events = [
            Event(
                event_id=derive_id("config", trace_id, index),
                event_type=EventType.CONFIG,
                topic=f"config.{self._kind}.{what}",
                timestamp=now,
                trace_id=trace_id,
                actor=actor,
                payload={"catalog": number, **payload},
                tenant=self._tenant,
            )
            for index, (what, payload) in enumerate(told)
        ]
        return Consequences(events=record(connection, events, routed=True))

    def _number(self, connection: Connection, *, lock: bool = False) -> int:
        query = select(catalog_heads.c.number).where(self._mine(catalog_heads))
        return connection.execute(query.with_for_update() if lock else query).scalar() or 0

    def _lock(self, connection: Connection, expected: int | None, now: datetime) -> CatalogHead:
        number = self._number(connection, lock=True)
        if expected is not None and number != expected:
            raise VersionConflictError(f"the catalog is at {number}, not at {expected}: decide again from there")
        if (
            number == 0
            and connection.execute(select(catalog_heads.c.kind).where(self._mine(catalog_heads))).first() is None
        ):
            connection.execute(
                insert(catalog_heads).values(tenant=self._tenant, kind=self._kind, number=0, updated_at=now)
            )
        return self.head(connection)

    def _advance(self, connection: Connection, number: int, now: datetime) -> None:
        connection.execute(update(catalog_heads).where(self._mine(catalog_heads)).values(number=number, updated_at=now))

    def _mine(self, table: Any) -> Any:
        return and_(table.c.tenant == self._tenant, table.c.kind == self._kind)

    def _version_of(self, table: Any, name: Any, version: Any) -> Any:
        return and_(self._mine(table), table.c.name == name, table.c.version == version)


def _refusal_told(item: RejectionRecord) -> dict[str, Any]:
    first = item.problems[0]
    return {
        "agent": item.name,
        "version": item.version,
        "file": first.get("file", item.path),
        "line": first["line"],
        "column": first["column"],
        "message": first["message"],
        "hint": first["hint"],
        "problems": len(item.problems),
    }


def _same(known: RejectionRecord, wanted: RejectionRecord) -> bool:
    return (known.digest, known.name, known.version, list(map(dict, known.problems))) == (
        wanted.digest,
        wanted.name,
        wanted.version,
        list(map(dict, wanted.problems)),
    )


def _version(row: RowMapping) -> VersionRecord:
    return VersionRecord(
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        path=row["path"],
        source=row["source"],
        definition=row["definition"],
        warnings=tuple(row["warnings"]),
        actor=actor_of(row["actor"]),
        created_at=row["created_at"],
    )


def _rejection(row: RowMapping) -> RejectionRecord:
    return RejectionRecord(
        path=row["path"],
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        problems=tuple(row["problems"]),
        created_at=row["created_at"],
    )
