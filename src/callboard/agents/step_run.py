"""The run of one step of a plan: derived from its parent, so that starting it twice is starting it once; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.definition import ExecutionMode
from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.events import Actor, Event, EventType
from callboard.state.finishing import ChildDraft
from callboard.state.plans import PlanStep
from callboard.state.runs import Admission, Run, RunDraft


def step_run(
    parent: Run,
    step: PlanStep,
    given: Any,
    catalog: Catalog,
    now: datetime,
    *,
    path: str | None = None,
    revision: int = 0,
) -> ChildDraft:
    """Its trace, actor, lane and catalog are the parent's; the agent is the step's (DESIGN.md, R3 and R21).

    `path` is its place where that is not the step's id alone: `ID[3]` for an item of the step's list. `revision` is the
    plan's: a changed plan may do a step anew under its old name. NotFoundError for an agent that is not in the catalog.
    """
    path = path or step.id
    entry = catalog.agent(step.agent)
    event = Event(
        event_id=derive_id("step", parent.run_id, path, revision + 1),
        event_type=EventType.AGENT_INPUT,
        topic=topology.agent_input(step.agent),
        timestamp=now,
        trace_id=parent.trace_id,
        actor=Actor(kind="agent", id=parent.agent, via="plan"),
        payload={"input": given, "parent_run_id": parent.run_id, "step_id": path},
        causation_id=parent.event_id,
        conversation_id=parent.conversation_id,
        hops=parent.hops + 1,
        tenant=parent.tenant,
    )
    return ChildDraft(event=event, run=_draft(parent, entry, event, path, given))


def _draft(parent: Run, entry: CatalogEntry, event: Event, path: str, given: Any) -> RunDraft:
    agent, definition = entry.name, entry.definition
    limits, continuous = definition.limits, definition.mode is ExecutionMode.CONTINUOUS
    conversation = (parent.conversation_id or ExecutionMode.COLLABORATIVE.value) if continuous else None
    order_key = f"{agent}/{conversation}" if continuous and not parent.dry else None
    return RunDraft(
        run_id=derive_id("run", event.event_id, agent),
        event_id=event.event_id,
        trace_id=parent.trace_id,
        tenant=parent.tenant,
        agent=agent,
        agent_version=entry.version,
        catalog=parent.catalog,
        mode=definition.mode.value,
        admission=Admission.of_caused(agent, parent.lane, places=limits.max_concurrency, order_key=order_key),
        max_attempts=limits.max_attempts,
        timeout_seconds=limits.timeout_seconds,
        actor=parent.actor,
        input=given,
        hops=event.hops,
        depth=parent.depth + 1,
        conversation_id=conversation,
        parent_run_id=parent.run_id,
        root_run_id=parent.root,
        step_id=path,
        dry=parent.dry,
        variant=None if parent.variant is None else parent.variant.of_child(),
    )
