"""The peer of a run: the rows that one leaves behind, written by SQLAlchemy Core alone.

The same inserts, updates and deletes on the same tables in the same order, without a read, a check, a hop between
threads or anything that decides: what is left is the price of the database and its toolkit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, delete, insert, update

from callboard.ids import derive_id
from callboard.state.models import dedupe_keys, events, metadata, outbox, progress, run_io, runs
from callboard.state.sql.sqlite import SqliteDatabase

Step = tuple[Executable, Callable[[int, datetime], dict[str, Any]]]
ACTOR = {"kind": "api", "id": "benchmark", "team": None, "via": "api"}


def runs_a_second(folder: Path, count: int, rows_a_commit: int) -> float:
    """Each statement carries `rows_a_commit` rows and is a transaction of its own."""
    folder.mkdir(parents=True)
    engine = SqliteDatabase(folder / "bare.db").engine
    metadata.create_all(engine)
    with engine.connect().execution_options(writer=True) as connection:
        began = time.perf_counter()
        for first in range(0, count, rows_a_commit):
            _write(connection, range(first, min(first + rows_a_commit, count)))
        took = time.perf_counter() - began
    engine.dispose()
    return count / took


def _write(connection: Connection, numbers: Sequence[int]) -> None:
    now = datetime.now(UTC)
    for statement, row in STEPS:
        with connection.begin():
            connection.execute(statement, [row(number, now) for number in numbers])


def _event(number: int, now: datetime, *, status: bool) -> dict[str, Any]:
    return {
        "seq": 2 * number + 1 + status,
        "tenant": "default",
        "event_id": derive_id("status" if status else "invoke", number),
        "event_type": "run.status" if status else "api.invoke",
        "topic": "run.succeeded.echo-0" if status else "api.invoke.echo-0",
        "occurred_at": now,
        "accepted_at": now,
        "trace_id": derive_id("trace", number),
        "causation_id": None,
        "conversation_id": None,
        "priority": "normal",
        "hops": int(status),
        "actor": ACTOR,
        "payload": b'J{"text":"hello"}',
        "digest": None,
        "schema_version": 1,
        "routed_at": None,
    }


def _run(number: int, now: datetime) -> dict[str, Any]:
    return {
        "seq": number + 1,
        "tenant": "default",
        "run_id": derive_id("run", number),
        "event_id": derive_id("invoke", number),
        "trace_id": derive_id("trace", number),
        "agent": "echo-0",
        "agent_version": 1,
        "catalog": 1,
        "mode": "autonomous",
        "lane": "interactive",
        "rank": 2,
        "status": "queued",
        "ready": True,
        "available_at": now,
        "has_turn": True,
        "has_place": True,
        "attempt": 0,
        "failures": 0,
        "max_attempts": 3,
        "context_no": 0,
        "lease_losses": 0,
        "fencing": 0,
        "depth": 0,
        "hops": 0,
        "timeout_seconds": 300.0,
        "actor": ACTOR,
        "created_at": now,
        "cost_usd": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
    }


def _key(number: int, now: datetime) -> dict[str, Any]:
    event_id = derive_id("invoke", number)
    return {"tenant": "default", "key": f"benchmark:{event_id}", "event_id": event_id, "created_at": now}


def _progress(number: int, now: datetime) -> dict[str, Any]:
    return {
        "run_id": derive_id("run", number),
        "n": 1,
        "kind": "status",
        "data": {"status": "succeeded"},
        "created_at": now,
    }


ROUTED = update(events).where(events.c.seq == bindparam("b_seq")).values(routed_at=bindparam("b_at"), matched=1)
TAKEN = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"))
    .values(status="running", owner="p", claim_token="t", fencing=1, attempt=1, started_at=bindparam("b_at"))  # noqa: S106
)
ENDED = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"))
    .values(
        status="succeeded",
        ready=False,
        has_turn=False,
        has_place=False,
        owner=None,
        claim_token=None,
        finished_at=bindparam("b_at"),
        input_tokens=2,
        output_tokens=2,
    )
)
STEPS: Sequence[Step] = (
    (insert(events), lambda number, now: _event(number, now, status=False)),
    (insert(dedupe_keys), _key),
    (insert(outbox), lambda number, now: {"event_seq": 2 * number + 1, "next_try": now}),
    (insert(runs), _run),
    (insert(run_io), lambda number, _: {"run_id": derive_id("run", number), "input": b'J"hello"'}),
    (ROUTED, lambda number, now: {"b_seq": 2 * number + 1, "b_at": now}),
    (TAKEN, lambda number, now: {"b_seq": number + 1, "b_at": now}),
    (ENDED, lambda number, now: {"b_seq": number + 1, "b_at": now}),
    (
        update(run_io).where(run_io.c.run_id == bindparam("b_run_id")).values(output=b'J"hello"'),
        lambda number, _: {"b_run_id": derive_id("run", number)},
    ),
    (insert(progress), _progress),
    (insert(events), lambda number, now: _event(number, now, status=True)),
    (insert(outbox), lambda number, now: {"event_seq": 2 * number + 2, "next_try": now}),
    (ROUTED, lambda number, now: {"b_seq": 2 * number + 2, "b_at": now}),
    (delete(outbox).where(outbox.c.event_seq == bindparam("b_seq")), lambda number, _: {"b_seq": 2 * number + 1}),
    (delete(outbox).where(outbox.c.event_seq == bindparam("b_seq")), lambda number, _: {"b_seq": 2 * number + 2}),
)
