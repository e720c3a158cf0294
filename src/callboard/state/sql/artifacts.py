"""Units of work: artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from callboard.errors import NotFoundError, TooLargeError
from callboard.state.artifacts import MAX_ARTIFACTS_OF_A_RUN, MAX_BYTES_OF_A_RUN, Artifact
from callboard.state.database import one_statement
from callboard.state.models import artifacts, runs

_RECORD = [column for column in artifacts.c if column.name != "body"]


def keep(connection: Connection, artifact: Artifact, body: bytes) -> Artifact:
    """The artifact as it is kept, which may be an earlier one of the same body; TooLargeError when the run is full."""
    known = _find(connection, artifact.id)
    if known is not None:
        return known
    sizes = select(func.count(), func.coalesce(func.sum(artifacts.c.size_bytes), 0))
    count, total = connection.execute(sizes.where(artifacts.c.run_id == artifact.run_id)).one()
    if count >= MAX_ARTIFACTS_OF_A_RUN or total + artifact.size_bytes > MAX_BYTES_OF_A_RUN:
        raise TooLargeError(
            f"run {artifact.run_id} keeps {count} artifacts of {total} bytes already; the limits are "
            f"{MAX_ARTIFACTS_OF_A_RUN} and {MAX_BYTES_OF_A_RUN} bytes"
        )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {column.name: getattr(artifact, column.name) for column in _RECORD}
    connection.execute(dialect.insert(artifacts).values(**row, body=body).on_conflict_do_nothing())
    return _find(connection, artifact.id) or artifact


@one_statement
def load(connection: Connection, tenant: str, artifact_id: str) -> tuple[Artifact, bytes]:
    """The artifact with its body; NotFoundError."""
    query = select(artifacts).where(artifacts.c.id == artifact_id, artifacts.c.tenant == tenant)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no artifact {artifact_id}")
    return _artifact(row), bytes(row["body"])


@one_statement
def list_of_run(connection: Connection, tenant: str, run_id: str, limit: int) -> list[Artifact]:
    """Those of the run and of the runs under it, oldest first."""
    query = _of_family(tenant, run_id).order_by(artifacts.c.created_at, artifacts.c.id).limit(limit)
    return [_artifact(row) for row in connection.execute(query).mappings()]


@one_statement
def list_named(connection: Connection, tenant: str, run_id: str, ids: Sequence[str]) -> list[Artifact]:
    """Those among `ids` of the run and of the runs under it."""
    query = _of_family(tenant, run_id).where(artifacts.c.id.in_(ids))
    return [_artifact(row) for row in connection.execute(query).mappings()]


def _of_family(tenant: str, run_id: str) -> Select[Any]:
    under = select(runs.c.run_id).where(or_(runs.c.root_run_id == run_id, runs.c.parent_run_id == run_id))
    return select(*_RECORD).where(
        artifacts.c.tenant == tenant, or_(artifacts.c.run_id == run_id, artifacts.c.run_id.in_(under))
    )


def _find(connection: Connection, artifact_id: str) -> Artifact | None:
    row = connection.execute(select(*_RECORD).where(artifacts.c.id == artifact_id)).mappings().first()
    return None if row is None else _artifact(row)


def _artifact(row: RowMapping) -> Artifact:
    return Artifact(**{column.name: row[column.name] for column in _RECORD})
