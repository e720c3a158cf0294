"""Units of work: plans and how far they have come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from callboard.errors import VersionConflictError
from callboard.state.codec import decode, encode
from callboard.state.database import one_statement
from callboard.state.models import plan_run_states, plans
from callboard.state.plans import Plan, PlanDraft, PlanRunState, PlanStateSave, PlanStep, StepState, StepStatus


def save_plan(connection: Connection, draft: PlanDraft, now: datetime) -> None:
    """A run has one plan: a second write of it is left out."""
    if connection.execute(select(plans.c.run_id).where(plans.c.run_id == draft.run_id)).first() is not None:
        return
    steps = [
        {"id": step.id, "agent": step.agent, "input": step.input, "depends_on": list(step.depends_on)}
        for step in draft.plan.steps
    ]
    connection.execute(
        insert(plans),
        [
            {
                "run_id": draft.run_id,
                "goal": draft.plan.goal,
                "origin": draft.plan.origin,
                "graph": {"steps": steps},
                "created_at": now,
            }
        ],
    )


@one_statement
def load_plan(connection: Connection, run_id: str) -> Plan | None:
    row = connection.execute(select(plans).where(plans.c.run_id == run_id)).mappings().first()
    if row is None:
        return None
    steps = tuple(
        PlanStep(id=step["id"], agent=step["agent"], input=step["input"], depends_on=tuple(step["depends_on"]))
        for step in row["graph"]["steps"]
    )
    return Plan(goal=row["goal"], origin=row["origin"], steps=steps)


def save_plan_state(connection: Connection, save: PlanStateSave, now: datetime) -> int:
    """Raises VersionConflictError, saving nothing, unless the stored version is the expected one."""
    state = save.state
    row = {
        "version": save.expected + 1,
        "status": state.status,
        "state": encode({name: _step_record(step) for name, step in state.steps.items()}),
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
    return PlanRunState(
        run_id=run_id,
        version=row["version"],
        status=row["status"],
        steps={name: _step_of(record) for name, record in decode(row["state"]).items()},
        updated_at=row["updated_at"],
    )


def _step_record(step: StepState) -> dict[str, Any]:
    return {"status": step.status.value, "run_id": step.run_id, "output": step.output, "error": step.error}


def _step_of(record: dict[str, Any]) -> StepState:
    return StepState(
        status=StepStatus(record["status"]), run_id=record["run_id"], output=record["output"], error=record["error"]
    )
