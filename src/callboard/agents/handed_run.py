"""The run of a task that one agent has handed to another: derived from its parent and the call, so that handing it on
twice is handing it on once; pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from callboard.agents.engine import HandedTask
from callboard.agents.step_run import step_run
from callboard.config.catalog import Catalog
from callboard.state.finishing import ChildDraft
from callboard.state.plans import PlanStep
from callboard.state.runs import Run

_STEP = "task"


def handed_run(parent: Run, task: HandedTask, catalog: Catalog, now: datetime) -> ChildDraft:
    """As a step of a plan, but that a continuous agent takes it in a conversation of its own: in one that a run above
    is in the middle of, it would wait for a turn that comes only when it has ended itself."""
    step = PlanStep(id=_step_id(parent, task.key), agent=task.agent, input=task.task, depends_on=())
    draft = step_run(parent, step, task.task, catalog, now)
    if draft.run.admission.order_key is None:
        return draft
    conversation = f"{_STEP}:{parent.run_id}"
    admission = replace(draft.run.admission, order_key=f"{task.agent}/{conversation}")
    return replace(draft, run=replace(draft.run, conversation_id=conversation, admission=admission))


def handed_key(parent: Run, child: Run) -> str | None:
    """The key of the task that the child is the run of, None for any other child, as one of an earlier context."""
    kind, *place = (child.step_id or "").split("-")
    if kind != _STEP or len(place) != 3 or place[0] != str(parent.context_no):
        return None
    return f"{parent.step_id or ''}/{place[1]}/{place[2]}"


def _step_id(parent: Run, key: str) -> str:
    """Without the path that the key begins with: it is the parent's, and would grow with the depth."""
    turn, index = key.split("/")[-2:]
    return f"{_STEP}-{parent.context_no}-{turn}-{index}"
