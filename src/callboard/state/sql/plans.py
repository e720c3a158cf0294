"""Units of work: plans, what became of them, and how far they have come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from callboard.errors import VersionConflictError
from callboard.state.codec import decode, encode
from callboard.state.database import one_statement
from callboard.state.models import plan_revisions, plan_run_states, plans
from callboard.state.plans import (
    Plan,
    PlanDraft,
    PlanRevision,
    PlanRunState,
    PlanStateSave,
    PlanStep,
    StepState,
    StepStatus,
)

_PAST = ""
"""The key beside the steps' ids, none of which is empty."""


def save_plan(connection: Connection, draft: PlanDraft, now: datetime) -> None:
    """A run has one plan and one of each revision: a second write of it is left out."""
    if draft.plan.revision:
        _save_revision(connection, draft, now)
        return
    if connection.execute(select(plans.c.run_id).where(plans.c.run_id == draft.run_id)).first() is not None:
        return
    connection.execute(
        insert(plans),
        [
            {
                "run_id": draft.run_id,
                "goal": draft.plan.goal,
                "origin": draft.plan.origin,
                "graph": _graph(draft.plan),
                "created_at": now,
            }
        ],
    )


def _save_revision(connection: Connection, draft: PlanDraft, now: datetime) -> None:
    known = connection.execute(
        select(plan_revisions.c.run_id).where(
            plan_revisions.c.run_id == draft.run_id, plan_revisions.c.revision == draft.plan.revision
        )
    )
    if known.first() is not None:
        return
    row = {
        "run_id": draft.run_id,
        "revision": draft.plan.revision,
        "graph": _graph(draft.plan),
        "reason": draft.reason,
        "created_at": now,
    }
    connection.execute(insert(plan_revisions), [row])


@one_statement
def load_plan(connection: Connection, run_id: str) -> Plan | None:
    """As it was changed last."""
    changed = plan_revisions.c
    row = (
        connection.execute(
            select(plans, changed.revision, changed.graph.label("changed"))
            .outerjoin_from(plans, plan_revisions, and_(changed.run_id == plans.c.run_id))
            .where(plans.c.run_id == run_id)
            .order_by(changed.revision.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    graph = row["graph"] if row["revision"] is None else row["changed"]
    return _plan_of(row["goal"], row["origin"], graph, row["revision"] or 0)


@one_statement
def load_revisions(connection: Connection, run_id: str) -> list[PlanRevision]:
    """The changes of a run's plan, oldest first."""
    rows = connection.execute(
        select(plan_revisions, plans.c.goal, plans.c.origin)
        .join_from(plan_revisions, plans, plans.c.run_id == plan_revisions.c.run_id)
        .where(plan_revisions.c.run_id == run_id)
        .order_by(plan_revisions.c.revision)
    ).mappings()
    return [
        PlanRevision(
            plan=_plan_of(row["goal"], row["origin"], row["graph"], row["revision"]),
            reason=row["reason"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


def save_plan_state(connection: Connection, save: PlanStateSave, now: datetime) -> int:
    """Raises VersionConflictError, saving nothing, unless the stored version is the expected one."""
    state = save.state
    record: dict[str, Any] = {name: _step_record(step) for name, step in state.steps.items()}
    if state.past:
        record[_PAST] = list(state.past)
    row = {
        "version": save.expected + 1,
        "status": state.status,
        "state": encode(record),
        "updated_at": now,
    }
    stored = connection.execute(
        select(plan_run_states.c.version).where(plan_run_states.c.run_id == state.run_id).with_for_update()
    ).scalar()
    if (stored or 0) != save.expected:
        raise VersionConflictError(
            f"the plan of run {state.run_id} is at version {stored or 0}, not {save.expected}: load it again"
        )
    if stored is None:
        connection.execute(insert(plan_run_states), [{"run_id": state.run_id, **row}])
    else:
        connection.execute(update(plan_run_states).where(plan_run_states.c.run_id == state.run_id).values(**row))
    return save.expected + 1


@one_statement
def load_plan_state(connection: Connection, run_id: str) -> PlanRunState:
    """An empty state of version 0 where the plan has not begun."""
    row = connection.execute(select(plan_run_states).where(plan_run_states.c.run_id == run_id)).mappings().first()
    if row is None:
        return PlanRunState(run_id=run_id)
    record = decode(row["state"])
    past = tuple(record.pop(_PAST, ()))
    return PlanRunState(
        run_id=run_id,
        version=row["version"],
        status=row["status"],
        steps={name: _step_of(step) for name, step in record.items()},
        past=past,
        updated_at=row["updated_at"],
    )


def begin_with(connection: Connection, draft: PlanDraft, state: PlanRunState, now: datetime) -> None:
    """Gives a run that is not there yet its plan and how far it has come; said again, nothing changes."""
    save_plan(connection, draft, now)
    if not load_plan_state(connection, draft.run_id).version:
        save_plan_state(connection, PlanStateSave(state=state, expected=0), now)


def _graph(plan: Plan) -> dict[str, Any]:
    graph: dict[str, Any] = {"steps": [step.to_record() for step in plan.steps]}
    if plan.aggregate is not None:
        graph["aggregate"] = plan.aggregate
    return graph


def _plan_of(goal: str, origin: str, graph: Mapping[str, Any], revision: int) -> Plan:
    steps = tuple(PlanStep.of_record(step) for step in graph["steps"])
    return Plan(goal=goal, origin=origin, steps=steps, revision=revision, aggregate=graph.get("aggregate"))


def _step_record(step: StepState) -> dict[str, Any]:
    record = {"status": step.status.value, "run_id": step.run_id, "output": step.output, "error": step.error}
    if step.items is not None:
        record["items"] = [_step_record(item) for item in step.items]
    return record


def _step_of(record: Mapping[str, Any]) -> StepState:
    items = record.get("items")
    return StepState(
        status=StepStatus(record["status"]),
        run_id=record["run_id"],
        output=record["output"],
        error=record["error"],
        items=None if items is None else tuple(_step_of(item) for item in items),
    )
