"""Units of work: answers to questions, and cancelling on request (DESIGN.md, R18 and R19)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, or_, select, update

from callboard.errors import ConflictError, NotFoundError
from callboard.messaging.events import Actor
from callboard.state.announcements import clarification_event
from callboard.state.answer_forms import check_answer
from callboard.state.answer_rights import check_may_answer
from callboard.state.clarifications import Answer, Clarification, check_open
from callboard.state.database import one_statement
from callboard.state.finishing import Consequences
from callboard.state.models import clarifications, operations, runs
from callboard.state.runs import RunError, RunStatus
from callboard.state.sql import order
from callboard.state.sql.ending import cancel, resume
from callboard.state.sql.events import record_once
from callboard.state.sql.question_messages import close_messages
from callboard.state.sql.questions import clarification_of
from callboard.state.sql.raising import raise_limit
from callboard.state.sql.rows import actor_record


def answer(connection: Connection, tenant: str, given: Answer) -> tuple[Clarification, Consequences]:
    """The first answer wins.

    Raises NotFoundError, ConflictError (who answered what), ForbiddenError (who may) or InvalidInputError.
    """
    row = _question(connection, tenant, given)
    hold(connection, [row["run_id"]])
    row = connection.execute(_by_id(row["id"]).with_for_update()).mappings().one()
    question = clarification_of(row)
    check_open(question)
    check_may_answer(question, given.actor, given.groups)
    check_answer(question, given.answer)
    audit(connection, given.actor, "clarification.answer", question.id, {"run_id": question.run_id}, given.now)
    told = close_with_answer(connection, row, given)
    after = connection.execute(_by_id(question.id)).mappings().one()
    return clarification_of(after), told


@one_statement
def find_question(connection: Connection, tenant: str, given: Answer) -> Clarification:
    """The question that the answer is for, as it is now; NotFoundError."""
    return clarification_of(_question(connection, tenant, given))


def close_with_answer(connection: Connection, row: RowMapping, given: Answer) -> Consequences:
    """Takes an answer that was found right, for a question that is held and open; its run goes on."""
    connection.execute(
        update(clarifications)
        .where(clarifications.c.id == row["id"], clarifications.c.status == "asked")
        .values(
            status="answered",
            answer=given.answer,
            comment=given.comment,
            answered_by=given.answered_by or given.actor.id,
            actor=actor_record(given.actor),
            answered_at=given.now,
        )
    )
    wakes = close_messages(connection, [row["id"]], given.now, given.edits)
    wakes |= resume_waiting(connection, row["run_id"], given.now)
    events = record_once(connection, [clarification_event(row, "answered", given.now)])
    raise_limit(connection, row, given.answer)
    return Consequences(events=events, wakes=frozenset(wakes))


def request_cancel(connection: Connection, tenant: str, run_id: str, actor: Actor, now: datetime) -> Consequences:
    """Raises NotFoundError; ConflictError for a run that ended as something else before."""
    order.lock_keys_of(connection, [run_id])
    named = select(runs.c.status).where(runs.c.run_id == run_id, runs.c.tenant == tenant)
    row = connection.execute(named.with_for_update()).first()
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    status = RunStatus(row.status)
    if status is RunStatus.CANCELLED:
        return Consequences()
    if status.terminal:
        raise ConflictError(f"run {run_id} has ended as {status} and cannot be cancelled", code="ended")
    audit(connection, actor, "run.cancel", run_id, {}, now)
    return cancel(connection, [run_id], now, RunError(code="cancelled", message=f"cancelled by {actor.id}"))


@one_statement
def answers_of(connection: Connection, run_id: str) -> list[Clarification]:
    """Every question that the run has asked, in the order of asking."""
    rows = connection.execute(
        select(clarifications)
        .where(clarifications.c.run_id == run_id)
        .order_by(clarifications.c.asked_at, clarifications.c.id)
    )
    return [clarification_of(row) for row in rows.mappings()]


@one_statement
def list_clarifications(connection: Connection, tenant: str, status: str | None, limit: int) -> list[Clarification]:
    """Newest first."""
    query = select(clarifications).where(clarifications.c.tenant == tenant)
    if status is not None:
        query = query.where(clarifications.c.status == status)
    rows = connection.execute(query.order_by(clarifications.c.asked_at.desc()).limit(limit))
    return [clarification_of(row) for row in rows.mappings()]


@one_statement
def load_clarification(connection: Connection, tenant: str, clarification_id: str) -> Clarification | None:
    row = connection.execute(_by_id(clarification_id).where(clarifications.c.tenant == tenant)).mappings().first()
    return None if row is None else clarification_of(row)


def audit(connection: Connection, actor: Actor, action: str, obj: str, details: dict[str, Any], now: datetime) -> None:
    """One line of who did what, in the transaction of the deed."""
    connection.execute(
        operations.insert(),
        [{"actor": actor_record(actor), "action": action, "object": obj, "details": details, "created_at": now}],
    )


def _question(connection: Connection, tenant: str, given: Answer) -> RowMapping:
    """The named question, else the run's open one, else the one that was closed last."""
    query = select(clarifications).where(clarifications.c.tenant == tenant)
    if given.clarification_id is not None:
        query = query.where(clarifications.c.id == given.clarification_id)
    if given.run_id is not None:
        query = query.where(or_(clarifications.c.run_id == given.run_id, clarifications.c.root_run_id == given.run_id))
    rows: Sequence[RowMapping] = (
        connection.execute(query.order_by(clarifications.c.asked_at.desc()).limit(100)).mappings().all()
    )
    if not rows:
        raise NotFoundError(
            f"there is no question {given.clarification_id or ''} of run {given.run_id}", code="no_question"
        )
    return next((row for row in rows if row["status"] == "asked"), rows[0])


def resume_waiting(connection: Connection, run_id: str, now: datetime) -> set[str]:
    """Of a run that is held."""
    rows = connection.execute(select(runs).where(runs.c.run_id == run_id, runs.c.status == RunStatus.WAITING))
    return resume(connection, rows.mappings().all(), now)


def hold(connection: Connection, run_ids: Sequence[str]) -> None:
    """Keeps the runs as they are until the commit, whatever their status: one that is about to wait looks again after
    this has committed (DESIGN.md, R8 and R18)."""
    order.lock_keys_of(connection, run_ids)
    connection.execute(
        select(runs.c.seq).where(runs.c.run_id.in_(run_ids)).order_by(runs.c.seq).with_for_update()
    ).close()


def _by_id(clarification_id: str) -> Select[Any]:
    return select(clarifications).where(clarifications.c.id == clarification_id)
