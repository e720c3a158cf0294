"""Units of work: letting go of a claimed run (DESIGN.md, rule 5, R15, R18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from callboard.messaging.topology import run_requested
from callboard.state.announcements import clarification_event
from callboard.state.codec import encode
from callboard.state.finishing import Consequences, Settled, Settlement
from callboard.state.models import clarifications, run_io, run_messages, runs
from callboard.state.readiness import at_once
from callboard.state.runs import RunError, RunStatus, WaitingKind, check_transition
from callboard.state.sql import order
from callboard.state.sql.agent_states import save_states
from callboard.state.sql.budgets import Charge, charge, model_calls
from callboard.state.sql.direct import Row, change, column, fetch
from callboard.state.sql.ending import Ended, end, note, owe_messages
from callboard.state.sql.events import record, record_once
from callboard.state.sql.pausing import decided
from callboard.state.sql.plans import save_plan, save_plan_state
from callboard.state.sql.questions import rules_row
from callboard.state.sql.rows import run_row

CANCELLED = RunError(code="cancelled", message="cancelled on request")


def settle(connection: Connection, items: Sequence[Settlement]) -> list[Settled]:
    """Applies each settlement whose claim still holds; the others leave no trace and are answered with None."""
    new = [run_row(child.run, item.now) for item in items for child in item.children]
    order.lock_keys_of(connection, [item.run_id for item in items], order.keys_of(new))
    held = _held(connection, items)
    told = Consequences()
    statuses: list[RunStatus | None] = []
    ended: list[Ended] = []
    moved: list[tuple[Row, Settlement]] = []
    charges: list[Charge] = []
    for given in items:
        row = held.pop(given.run_id, None)
        if row is None or row["status"] != RunStatus.RUNNING or row["fencing"] != given.fencing:
            statuses.append(_settled_before(row, given))
            continue
        cancelled = row["cancel_requested_at"] is not None
        item = decided(connection, row, given) if given.pauses and not cancelled else given
        charges.append(_charge(row, item))
        status = RunStatus.CANCELLED if cancelled else item.status
        statuses.append(status)
        if not cancelled:
            told = told.plus(_write_extras(connection, row, item))
        if status.terminal:
            ended.append(_ended(row, item, cancelled=cancelled))
        else:
            check_transition(RunStatus.RUNNING, status)
            moved.append((row, item))
    if ended:
        told = told.plus(end(connection, ended, items[0].now))
    if moved:
        told = told.plus(_move(connection, moved))
    charge(connection, charges, items[0].now)
    # Telling is not per item: the first caller of the batch tells for all of them.
    return [
        Settled(status=status, consequences=told if index == 0 else Consequences())
        for index, status in enumerate(statuses)
    ]


def _settled_before(row: Row | None, item: Settlement) -> RunStatus | None:
    """The same end of the same claim, told again because nobody knew whether the first commit came through (R7).

    A run that its owner let go of keeps the token of that claim; one that was taken from its owner has none.
    """
    if row is None or row["fencing"] != item.fencing:
        return None
    if item.status.terminal:
        return item.status if row["status"] == item.status else None
    let_go = row["status"] in (RunStatus.WAITING, RunStatus.QUEUED) and row["claim_token"] is not None
    return item.status if let_go else None


def _held(connection: Connection, items: Sequence[Settlement]) -> dict[str, Row]:
    rows = fetch(connection, HELD, {"ids": [item.run_id for item in items]})
    return {row["run_id"]: row for row in rows}


def _charge(row: Row, item: Settlement) -> Charge:
    return Charge(
        row=row,
        usd=item.cost_usd,
        input_tokens=item.usage.input_tokens,
        output_tokens=item.usage.output_tokens,
        in_full=not item.cost_known,
        calls=model_calls((line.kind, line.data) for line in item.progress),
    )


def _ended(row: Row, item: Settlement, *, cancelled: bool) -> Ended:
    return Ended(
        row=row,
        status=RunStatus.CANCELLED if cancelled else item.status,
        output=None if cancelled else item.output,
        error=CANCELLED if cancelled else item.error,
        input_tokens=item.usage.input_tokens,
        output_tokens=item.usage.output_tokens,
        cost_usd=item.cost_usd,
        lines=tuple((line.kind, line.data) for line in item.progress),
    )


def _write_extras(connection: Connection, row: Row, item: Settlement) -> Consequences:
    if item.messages:
        append_messages(connection, row, item.messages, item.now)
    if item.state is not None:
        save_states(connection, [item.state], item.now)
    if item.plan is not None:
        save_plan(connection, item.plan, item.now)
    if item.plan_state is not None:
        save_plan_state(connection, item.plan_state, item.now)
    return Consequences(events=record_once(connection, list(item.events)))


def append_messages(connection: Connection, row: Row, messages: Sequence[Any], now: Any) -> None:
    """Adds to the checkpoint of the run's present context."""
    found = column(connection, LAST_MESSAGE, {"run_id": row["run_id"], "context_no": row["context_no"]})
    start = 0 if found[0] is None else found[0] + 1
    change(
        connection,
        NEW_MESSAGE,
        [
            {
                "run_id": row["run_id"],
                "context_no": row["context_no"],
                "n": start + offset,
                "message": encode(message),
                "created_at": now,
            }
            for offset, message in enumerate(messages)
        ],
    )


def _move(connection: Connection, moved: Sequence[tuple[Row, Settlement]]) -> Consequences:
    """Runs that go on later: waiting ones and those that are queued again."""
    now = moved[0][1].now
    told = Consequences()
    for row, item in moved:
        told = told.plus(_insert_children(connection, item)).plus(_ask(connection, row, item))
    change(connection, MOVE_RUN, [_move_parameters(row, item) for row, item in moved])
    lines = [
        (row["run_id"], kind, data)
        for row, item in moved
        for kind, data in (*((line.kind, line.data) for line in item.progress), ("status", _status_line(item)))
    ]
    note(connection, lines, now)
    waiting = [(row, item) for row, item in moved if item.status is RunStatus.WAITING]
    again = [row for row, item in moved if item.status is RunStatus.QUEUED]
    again += _not_waiting_after_all(connection, waiting)
    wakes = order.requeue(connection, again)
    for key in sorted({(row["tenant"], row["place_key"]) for row, _ in waiting if row["place_key"] is not None}):
        wakes |= order.fill_places(connection, key)
    return told.plus(Consequences(wakes=frozenset(wakes)))


def _move_parameters(row: Row, item: Settlement) -> dict[str, Any]:
    waiting = item.status is RunStatus.WAITING
    return {
        "b_seq": row["seq"],
        "b_status": item.status.value,
        "b_available_at": item.available_at or at_once(item.now),
        "b_failures": row["failures"] + item.failure,
        "b_context_no": row["context_no"] + item.fresh_context,
        "b_has_place": row["place_key"] is None,
        "b_waiting_kind": item.waiting_kind.value if waiting and item.waiting_kind else None,
        "b_waiting_id": item.question.id if waiting and item.question else None,
        "b_waiting_since": (item.waiting_since or item.now) if waiting else None,
        "b_cost": row["cost_usd"] + item.cost_usd,
        "b_input": row["input_tokens"] + item.usage.input_tokens,
        "b_output": row["output_tokens"] + item.usage.output_tokens,
    }


def _status_line(item: Settlement) -> dict[str, Any]:
    line: dict[str, Any] = {"status": item.status.value}
    if item.waiting_kind is not None:
        line["waiting_for"] = item.waiting_kind.value
    if item.error is not None:
        line["error"] = {"code": item.error.code, "message": item.error.message}
    return line


def _insert_children(connection: Connection, item: Settlement) -> Consequences:
    if not item.children:
        return Consequences()
    known = set(
        connection.execute(
            select(runs.c.run_id).where(runs.c.run_id.in_([child.run.run_id for child in item.children]))
        ).scalars()
    )
    fresh = [child for child in item.children if child.run.run_id not in known]
    stored = record(connection, [child.event for child in fresh], routed=True)
    wakes = insert_runs(connection, [(run_row(child.run, item.now), child.run.input) for child in fresh])
    return Consequences(events=stored, wakes=frozenset(wakes))


def insert_runs(connection: Connection, drafts: Sequence[tuple[dict[str, Any], Any]]) -> set[str]:
    """Rows of new runs with their inputs: gives them their turns and places; returns the topics to wake."""
    if not drafts:
        return set()
    rows = [row for row, _ in drafts]
    order.enter(connection, rows)
    change(connection, INSERT_RUNS, rows)
    change(connection, INSERT_IO, [{"run_id": row["run_id"], "input": encode(value)} for row, value in drafts])
    return {run_requested(row["mode"], row["lane"]) for row in rows if row["ready"]}


def _ask(connection: Connection, row: Row, item: Settlement) -> Consequences:
    question = item.question
    if question is None:
        return Consequences()
    known = connection.execute(
        select(clarifications.c.id).where(
            clarifications.c.run_id == row["run_id"], clarifications.c.key == question.key
        )
    ).scalar()
    if known is not None:
        return Consequences()
    record_row = {
        "id": question.id,
        "tenant": row["tenant"],
        "run_id": row["run_id"],
        "root_run_id": row["root_run_id"] or row["run_id"],
        "key": question.key,
        "agent": row["agent"],
        "trace_id": row["trace_id"],
        "kind": question.kind.value,
        "question": question.question,
        "options": list(question.options),
        "schema": question.schema,
        "status": "asked",
        "asked_at": item.now,
        "deadline": question.deadline,
        **rules_row(question, _requester(connection, row), item.now),
    }
    connection.execute(insert(clarifications), [record_row])
    wakes = owe_messages(connection, [(row, "question", question.id)], item.now)
    asked = record_once(connection, [clarification_event(record_row, "asked", item.now)])
    return Consequences(events=asked, wakes=frozenset(wakes))


def _requester(connection: Connection, row: Row) -> str:
    """Who asked for the whole, of which the run may be a step."""
    actor = row["actor"]
    if row["root_run_id"] is not None:
        root = connection.execute(select(runs.c.actor).where(runs.c.run_id == row["root_run_id"])).scalar()
        actor = root or actor
    return str(actor["id"])


def _not_waiting_after_all(connection: Connection, waiting: Sequence[tuple[Row, Settlement]]) -> list[Row]:
    """The runs whose wait was over before it began: an answer was there, or a step had ended meanwhile."""
    over = [row for row, item in waiting if _is_over(connection, row, item)]
    if over:
        connection.execute(
            update(runs)
            .where(runs.c.seq.in_([row["seq"] for row in over]))
            .values(status=RunStatus.QUEUED.value, waiting_kind=None, waiting_id=None, waiting_since=None)
        )
    return over


def _is_over(connection: Connection, row: Row, item: Settlement) -> bool:
    if item.waiting_kind is WaitingKind.STEPS:
        children = connection.execute(
            select(runs.c.run_id, runs.c.status).where(runs.c.parent_run_id == row["run_id"])
        ).all()
        done = {child.run_id for child in children if RunStatus(child.status).terminal}
        return bool(done - item.absorbed)
    if item.question is not None:
        status = connection.execute(
            select(clarifications.c.status).where(
                clarifications.c.run_id == row["run_id"], clarifications.c.key == item.question.key
            )
        ).scalar()
        return status != "asked"
    return False


HELD = select(runs).where(runs.c.run_id.in_(bindparam("ids", expanding=True))).order_by(runs.c.seq).with_for_update()
LAST_MESSAGE = select(func.max(run_messages.c.n).label("n")).where(
    run_messages.c.run_id == bindparam("run_id"), run_messages.c.context_no == bindparam("context_no")
)
NEW_MESSAGE = insert(run_messages)
INSERT_RUNS = insert(runs)
INSERT_IO = insert(run_io)
MOVE_RUN = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"))
    .values(
        status=bindparam("b_status"),
        ready=False,
        has_place=bindparam("b_has_place"),
        available_at=bindparam("b_available_at"),
        failures=bindparam("b_failures"),
        context_no=bindparam("b_context_no"),
        owner=None,
        waiting_kind=bindparam("b_waiting_kind"),
        waiting_id=bindparam("b_waiting_id"),
        waiting_since=bindparam("b_waiting_since"),
        cost_usd=bindparam("b_cost"),
        input_tokens=bindparam("b_input"),
        output_tokens=bindparam("b_output"),
    )
)
