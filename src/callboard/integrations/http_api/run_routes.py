"""Runs over HTTP: lists, everything about one, cancel, retry, and a plan once more from a step."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

import orjson
from fastapi import APIRouter, Query

from callboard.errors import ConflictError, NotFoundError
from callboard.ids import derive_id
from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.bodies import RerunBody
from callboard.integrations.http_api.context import (
    Context,
    InContext,
    PageSize,
    agent_ever,
    cursor_of,
    known_id,
)
from callboard.integrations.http_api.documents import AcceptedDocument, answers
from callboard.integrations.http_api.invocations import cancel, takes_work
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.rehearsals import rehearsed
from callboard.integrations.http_api.replies import JsonReply
from callboard.messaging.events import Event, EventPriority, EventType
from callboard.messaging.topology import api_invoke
from callboard.state.accepting import EventDraft
from callboard.state.plan_rerun import plan_from_step
from callboard.state.plans import Plan, StepState
from callboard.state.runs import Lane, Run, RunResult, RunStatus
from callboard.state.story import PendingRun, RunFilter

COLLABORATIVE = "collaborative"
MAX_RETRIES = 100
_KEPT = frozenset({"context", "deliver_to"})
"""What a retry takes over from the payload that started the run, beside its input."""


def run_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/runs", tags=["runs"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None, 404))(list_runs)
    router.get("/{run_id}", **answers(200, None, 404))(show_run)
    router.post("/{task_id}/cancel", **answers(202, None, 404, 409))(cancel)
    router.post("/{run_id}/retry", **answers(202, AcceptedDocument, 404, 409))(retry_run)
    router.post("/{run_id}/rerun", **answers(202, AcceptedDocument, 404, 409))(rerun_from_step)
    return router


async def list_runs(
    context: InContext,
    agent: Annotated[str | None, Query(max_length=200)] = None,
    status: RunStatus | None = None,
    trace_id: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
    limit: PageSize = 50,
) -> JsonReply:
    """Newest first; `next_cursor` is null on the last page."""
    context.may("run.list")
    if agent is not None:
        await agent_ever(context, agent)
    wanted = RunFilter(
        tenant=context.tenant,
        agent=agent,
        status=status,
        trace_id=None if trace_id is None else known_id(trace_id, "trace"),
        before=cursor_of(cursor),
        limit=limit + 1,
    )
    found = await context.services.queries.runs(wanted)
    page = found[:limit]
    more = len(found) > limit
    return JsonReply(
        {"runs": [shapes.run_record(run) for run in page], "next_cursor": str(page[-1].seq) if more else None}
    )


async def show_run(context: InContext, run_id: str) -> JsonReply:
    """Everything about one run: its input and output, questions, steps and messages to people."""
    context.may("run.read", run_id)
    services = context.services
    found = await services.queries.result(known_id(run_id, "run"), tenant=context.tenant)
    if found is None:
        return JsonReply({"run_id": run_id, **shapes.pending_status(await _pending(context, run_id))})
    plan = await services.plans.plan(run_id) if found.run.mode == COLLABORATIVE else None
    steps = await services.queries.runs(RunFilter(tenant=context.tenant, parent_run_id=run_id, limit=500))
    dry = await rehearsed(services.replays, run_id) if found.run.dry else {}
    return JsonReply(
        {
            **shapes.run_record(found.run),
            **dry,
            "input": found.input,
            "output": found.output,
            "error": shapes.run_error(found.error),
            "clarifications": [shapes.clarification(asked) for asked in await services.store.answers_of(run_id)],
            "steps": [shapes.run_record(step) for step in reversed(steps)],
            "plan": None if plan is None else await _plan_record(context, plan, run_id),
            "deliveries": [shapes.delivery(owed) for owed in await services.deliveries.of_run(run_id)],
        }
    )


async def retry_run(context: InContext, run_id: str) -> JsonReply:
    """The same work once more, as a new run under the same trace id; asked for twice at once, it is one run."""
    context.may("run.retry", run_id)
    found = await _ended_whole(context, run_id)
    return await _accepted(context, found.run, await _event_anew(context, found, "retry"), "retry_of")


async def rerun_from_step(context: InContext, run_id: str, body: RerunBody) -> JsonReply:
    """A plan once more, from a step on, as a new run: what the step does not need to do anew is taken over, the
    original is untouched. Asked for twice at once in the same words, it is one run."""
    context.may("run.retry", run_id)
    found = await _ended_whole(context, run_id)
    plans = context.services.plans
    plan = await plans.plan(run_id)
    if plan is None:
        raise ConflictError(f"run {run_id} has no plan: retry it as a whole", code="no_plan")
    wanted = hashlib.sha256(orjson.dumps([body.from_step, body.input], option=orjson.OPT_SORT_KEYS)).hexdigest()
    event = await _event_anew(context, found, "rerun", wanted)
    agent = found.run.agent
    new = derive_id("run", event.event_id, agent)
    changed, state = plan_from_step(plan, await plans.state(run_id), body.from_step, new, edited=body.input)
    # Before the event, so that the run finds its plan; of an event that is never accepted nobody asks.
    await plans.begin_with(changed, state)
    return await _accepted(context, found.run, event, "rerun_of")


async def _ended_whole(context: Context, run_id: str) -> RunResult:
    """A run that has ended, is no step of another one, and whose agent takes work."""
    found = await context.services.queries.result(known_id(run_id, "run"), tenant=context.tenant)
    if found is None:
        await _pending(context, run_id)
        raise ConflictError(f"run {run_id} has not ended: it is queued", code="not_ended")
    run = found.run
    if not run.status.terminal:
        raise ConflictError(f"run {run_id} has not ended: it is {run.status}", code="not_ended")
    if run.variant is not None:
        raise ConflictError(f"run {run_id} is a replay: replay run {run.variant.origin} again", code="is_a_replay")
    if run.parent_run_id is not None:
        raise ConflictError(f"run {run_id} is a step of run {run.root}: retry that one", code="is_a_step")
    takes_work(context, run.agent)
    return found


async def _accepted(context: Context, run: Run, event: Event, relation: str) -> JsonReply:
    accepted = await context.services.store.accept_event(EventDraft(event=event))
    return JsonReply(
        {
            "task_id": derive_id("run", accepted.event_id, run.agent),
            "trace_id": accepted.trace_id,
            "status": "queued",
            relation: run.run_id,
        },
        status_code=202,
    )


async def _plan_record(context: Context, plan: Plan, run_id: str) -> dict[str, object]:
    """The plan with how far each of its steps is, and how it was changed."""
    state = await context.services.plans.state(run_id)
    told = []
    for step in plan.steps:
        now = state.steps.get(step.id, StepState())
        done: dict[str, object] = {"status": now.status.value, "run_id": now.run_id, "error": now.error}
        if now.items is not None:
            done["items"] = [{"status": item.status.value, "run_id": item.run_id} for item in now.items]
        told.append({**step.to_record(), **done})
    changes = [
        {"revision": change.plan.revision, "reason": change.reason, "created_at": change.created_at}
        for change in await context.services.plans.revisions(run_id)
    ]
    return {"origin": plan.origin, "revision": plan.revision, "steps": told, "revisions": changes}


async def _event_anew(context: Context, found: RunResult, kind: str, *wanted: str) -> Event:
    """An event of its own whose id follows from the run and how often that was asked for (DESIGN.md, R3)."""
    run = found.run
    numbered = [derive_id(kind, run.run_id, *wanted, number) for number in range(1, MAX_RETRIES + 1)]
    known = await context.services.queries.known_events(numbered)
    event_id = next((each for each in numbered if each not in known), None)
    if event_id is None:
        raise ConflictError(f"run {run.run_id} was done again {MAX_RETRIES} times", code="too_many_retries")
    origin = await context.services.queries.event(run.event_id, tenant=run.tenant)
    event = Event(
        event_id=event_id,
        event_type=EventType.API_INVOKE,
        topic=api_invoke(run.agent),
        timestamp=context.services.clock.now(),
        trace_id=run.trace_id,
        actor=context.actor,
        payload={"text": found.input} if isinstance(found.input, str) else {"input": found.input},
        causation_id=run.event_id,
        conversation_id=run.conversation_id,
        priority=EventPriority.LOW if run.lane is Lane.BATCH else EventPriority.NORMAL,
        tenant=run.tenant,
    )
    if origin is not None:
        kept = {name: value for name, value in origin.event.payload.items() if name in _KEPT}
        event = replace(event, payload={**event.payload, **kept})
    event = replace(event, payload={**event.payload, "origin_run_id": run.run_id})
    if run.reply_to is not None:
        event = replace(event, payload={**event.payload, "reply_to": run.reply_to.to_record()})
    if run.dry:
        event = replace(event, payload={**event.payload, "dry": True})
    return event


async def _pending(context: Context, run_id: str) -> PendingRun:
    """The run that is accepted and not begun; NotFoundError."""
    found = await context.services.queries.pending(run_id, tenant=context.tenant)
    if found is None:
        raise NotFoundError(f"there is no run {run_id}")
    return found
