"""Work for agents over HTTP: invoke, status, result, approve, cancel (INTERFACE.md, section 3)."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from fastapi import APIRouter

from callboard.errors import ConflictError, NotFoundError, UnavailableError
from callboard.ids import derive_id
from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.bodies import AnswerBody, InvokeBody
from callboard.integrations.http_api.context import Context, InContext, existing_agent, known_id
from callboard.integrations.http_api.documents import AcceptedDocument, ResultDocument, StatusDocument, answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.rehearsals import rehearsed
from callboard.integrations.http_api.replies import JsonReply, error_reply
from callboard.logs import StructuredLogger, bind_trace, current_trace
from callboard.messaging.events import Event, EventType
from callboard.messaging.topology import api_invoke
from callboard.state.accepting import EventDraft
from callboard.state.clarifications import Answer, Clarification
from callboard.state.runs import Run

ROUTED_WITHIN_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.02


def invocation_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/agents", tags=["work"], route_class=StrictJsonRoute)
    router.post("/invoke", **answers(202, AcceptedDocument, 404, 409))(invoke)
    router.get("/status/{task_id}", **answers(200, StatusDocument, 404))(status)
    router.get("/result/{task_id}", **answers(200, ResultDocument, 404, 409))(result)
    router.post("/approve/{task_id}", **answers(200, None, 404, 409))(approve)
    router.post("/cancel/{task_id}", **answers(202, None, 404, 409))(cancel)
    return router


async def invoke(context: InContext, body: InvokeBody) -> JsonReply:
    """Start a task. Durable when it answers; the same idempotency key gives the same task."""
    context.may("agent.invoke", body.agent)
    takes_work(context, body.agent)
    services = context.services
    accepted = await services.store.accept_event(_draft(context, body))
    task_id = derive_id("run", accepted.event_id, body.agent)
    with bind_trace(accepted.trace_id, event_id=accepted.event_id, run_id=task_id, agent_id=body.agent):
        StructuredLogger("api").info("task accepted", duplicate=accepted.duplicate, principal=context.principal.id)
    return JsonReply({"task_id": task_id, "trace_id": accepted.trace_id, "status": "queued"}, status_code=202)


def takes_work(context: Context, agent: str) -> None:
    """NotFoundError for an agent that does not exist, UnavailableError with the reason for one that takes no work."""
    existing_agent(context, agent)
    reason = context.services.registry.availability(agent)
    if reason is not None:
        named = reason if agent in reason else f"agent {agent!r} takes no work now: {reason}"
        raise UnavailableError(named, code="agent_unavailable")


async def status(context: InContext, task_id: str) -> JsonReply:
    """How far a task is."""
    context.may("run.read", task_id)
    return JsonReply(await _status(context, task_id))


async def result(context: InContext, task_id: str) -> JsonReply:
    """What came of a task; 409 with its status until it has ended."""
    context.may("run.read", task_id)
    found = await context.services.queries.result(known_id(task_id, "task"), tenant=context.tenant)
    if found is None or not found.run.status.terminal:
        now = await _status(context, task_id)
        message = f"task {task_id} has not ended: it is {now['status']}"
        return error_reply(409, "not_ended", message, beside={"task_id": task_id, "status": now["status"]})
    run = found.run
    body = {
        "task_id": run.run_id,
        "trace_id": run.trace_id,
        "agent": run.agent,
        "status": run.status.value,
        "output": found.output,
        "error": shapes.run_error(found.error),
        "cost_usd": run.cost_usd,
        "usage": shapes.usage(run.usage),
    }
    if run.dry:
        body |= await rehearsed(context.services.replays, run.run_id)
    return JsonReply(body)


async def approve(context: InContext, task_id: str, body: AnswerBody) -> JsonReply:
    """Answer what a task asks. `task_id` may be the question's own id. The first answer wins; 403 says who may."""
    context.may("clarification.answer", task_id)
    services = context.services
    named = known_id(task_id, "task")
    question = await services.store.clarification(named, tenant=context.tenant)
    if question is not None and body.clarification_id in (None, question.id):
        return await answer_reply(context, body, None, question.id)
    await _status(context, named)
    try:
        return await answer_reply(context, body, named, body.clarification_id)
    except NotFoundError as error:
        which = f"no question {body.clarification_id}" if body.clarification_id else "nothing"
        raise ConflictError(f"task {named} has asked {which}", code="no_question") from error


async def answer_reply(
    context: Context, body: AnswerBody, run_id: str | None, clarification_id: str | None
) -> JsonReply:
    """200 with the question as it is now, 409 with it where somebody was first."""
    try:
        return JsonReply(shapes.clarification(await _give_answer(context, body, run_id, clarification_id)))
    except ConflictError as error:
        known = await _closed_question(context, run_id, clarification_id)
        beside = {} if known is None else {"clarification": shapes.clarification(known)}
        return error_reply(409, error.code, error.message, beside=beside)


async def _closed_question(context: Context, run_id: str | None, clarification_id: str | None) -> Clarification | None:
    store = context.services.store
    if clarification_id is not None:
        return await store.clarification(clarification_id, tenant=context.tenant)
    of_run = [] if run_id is None else await store.answers_of(run_id)
    return of_run[-1] if of_run else None


async def _give_answer(
    context: Context, body: AnswerBody, run_id: str | None, clarification_id: str | None
) -> Clarification:
    """Hands the answer to the store, in the name of the authenticated caller."""
    return await context.services.store.answer(
        Answer(
            answer=body.answer,
            now=context.services.clock.now(),
            actor=context.actor,
            run_id=run_id,
            clarification_id=clarification_id,
            comment=body.comment,
            answered_by=body.answered_by,
        ),
        tenant=context.tenant,
    )


async def cancel(context: InContext, task_id: str) -> JsonReply:
    """Stop a task: after this it can only end as cancelled."""
    context.may("run.cancel", task_id)
    await routed(context, task_id)
    await context.services.store.request_cancel(task_id, context.actor, tenant=context.tenant)
    run = await context.services.queries.run(task_id, tenant=context.tenant)
    now = "cancelled" if run is None else run.status.value
    return JsonReply({"task_id": task_id, "status": now, "cancel_requested": True}, status_code=202)


async def routed(context: Context, task_id: str) -> None:
    """Returns once the run exists; NotFoundError, and UnavailableError when its event is not routed in time."""
    services = context.services
    known_id(task_id, "task")
    deadline = services.clock.monotonic() + ROUTED_WITHIN_SECONDS
    while await services.queries.run(task_id, tenant=context.tenant) is None:
        await _status(context, task_id)
        if services.clock.monotonic() >= deadline:
            raise UnavailableError(
                f"task {task_id} is accepted and not routed yet: try again in a moment", code="not_routed_yet"
            )
        await services.clock.sleep(_LOOK_EVERY_SECONDS)


async def _status(context: Context, task_id: str) -> dict[str, Any]:
    found = await context.services.queries.find(known_id(task_id, "task"), tenant=context.tenant)
    if found is None:
        raise NotFoundError(f"there is no task {task_id}")
    return shapes.run_status(found) if isinstance(found, Run) else shapes.pending_status(found)


def _draft(context: Context, body: InvokeBody) -> EventDraft:
    """The event; a text comes as `text`, an object as `input`."""
    payload: dict[str, Any] = {"text": body.input} if isinstance(body.input, str) else {"input": body.input}
    if body.context is not None:
        payload["context"] = body.context
    if body.dry_run:
        payload["dry"] = True
    services = context.services
    event_id = services.ids.new()
    event = Event(
        event_id=event_id,
        event_type=EventType.API_INVOKE,
        topic=api_invoke(body.agent),
        timestamp=services.clock.now(),
        trace_id=current_trace() or event_id,
        actor=context.actor,
        payload=payload,
        conversation_id=body.conversation_id,
        priority=body.priority,
        tenant=context.tenant,
    )
    if body.idempotency_key is None:
        return EventDraft(event=event)
    return EventDraft(
        event=event,
        dedupe_keys=(f"api:{context.principal.id}:{body.idempotency_key}",),
        digest=_digest(body),
    )


def _digest(body: InvokeBody) -> str:
    """The same for bodies that mean the same: the order of keys does not count."""
    # A field that is new to the body is left out where it says nothing new: keys are kept over an upgrade.
    unsaid = set() if body.dry_run else {"dry_run"}
    meant = body.model_dump(mode="json", exclude={"idempotency_key", *unsaid})
    return hashlib.sha256(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS)).hexdigest()
