"""Replays over HTTP: a run once more without effects, by what was recorded, and what came out differently."""

from __future__ import annotations

import hashlib

import orjson
from fastapi import APIRouter

from callboard.config.catalog import CatalogEntry
from callboard.config.model_choice import with_model
from callboard.errors import ConflictError, NotFoundError, UnavailableError
from callboard.ids import derive_id
from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.bodies import ReplayBody
from callboard.integrations.http_api.context import Context, InContext, known_id
from callboard.integrations.http_api.documents import AcceptedDocument, answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.rehearsals import paths_of, rehearsed
from callboard.integrations.http_api.replay_draft import replay_draft
from callboard.integrations.http_api.replies import JsonReply
from callboard.integrations.http_api.run_comparison import Part, calls_of, comparison
from callboard.state.plan_rerun import plan_from_step
from callboard.state.replays import Variant
from callboard.state.runs import Run, RunResult

MAX_REPLAYS = 1000


def replay_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/runs", tags=["runs"], route_class=StrictJsonRoute)
    router.post("/{run_id}/replay", **answers(202, AcceptedDocument, 404, 409))(replay_run)
    router.get("/{run_id}/comparison", **answers(200, None, 404, 409))(compare_run)
    return router


async def replay_run(context: InContext, run_id: str, body: ReplayBody) -> JsonReply:
    """The run once more as a new one without effects: by the results and answers that were recorded, with the catalog
    it had then. Asked for twice at once in the same words, it is one run."""
    context.may("run.replay", run_id)
    found = await _ended(context, run_id)
    origin, services = found.run, context.services
    reason = services.registry.availability(origin.agent) if origin.agent in services.registry.names() else None
    if reason is not None:
        raise UnavailableError(f"agent {origin.agent!r} takes no work now: {reason}", code="agent_unavailable")
    variant = _variant(origin, body)
    entry = await _entry(context, found, variant)
    event_id = await _event_id(context, run_id, body)
    draft = replay_draft(found, entry, variant, event_id=event_id, actor=context.actor, now=services.clock.now())
    new = draft.run.run_id
    if body.from_step is not None:
        plan = await services.plans.plan(run_id)
        if plan is None:
            raise ConflictError(f"run {run_id} has no plan: replay it as a whole", code="no_plan")
        changed, state = plan_from_step(plan, await services.plans.state(run_id), body.from_step, new)
        # Before the run, so that it finds its plan; of a run that is never begun nobody asks.
        await services.plans.begin_with(changed, state)
    await services.store.begin_run(draft)
    return JsonReply(
        {"task_id": new, "trace_id": origin.trace_id, "status": "queued", "replay_of": run_id}, status_code=202
    )


async def compare_run(context: InContext, run_id: str) -> JsonReply:
    """What the replay came to beside what its original came to."""
    context.may("run.read", run_id)
    services = context.services
    replay = await _ended(context, run_id)
    origin_id = replay.run.origin_run_id
    if origin_id is None:
        raise ConflictError(f"run {run_id} is no replay: there is nothing to compare it with", code="not_a_replay")
    origin = await services.queries.result(origin_id, tenant=context.tenant)
    if origin is None:
        raise _gone(origin_id)
    told = comparison(await _parts(context, origin), await _parts(context, replay), replay.run.variant)
    dry = await rehearsed(services.replays, run_id) if replay.run.dry else {"dry": False}
    return JsonReply({"run_id": run_id, "origin_run_id": origin_id, **told, **dry})


async def _ended(context: Context, run_id: str) -> RunResult:
    queries = context.services.queries
    found = await queries.result(known_id(run_id, "run"), tenant=context.tenant)
    if found is None:
        if await queries.pending(run_id, tenant=context.tenant) is None:
            raise _gone(run_id)
        raise ConflictError(f"run {run_id} has not ended: it is queued", code="not_ended")
    if not found.run.status.terminal:
        raise ConflictError(f"run {run_id} has not ended: it is {found.run.status}", code="not_ended")
    return found


def _gone(run_id: str) -> NotFoundError:
    return NotFoundError(
        f"there is no run {run_id}: either there never was, or its records were deleted after the days that runs are "
        f"kept (CALLBOARD_RETENTION_DAYS)",
        code="unknown_run",
    )


def _variant(origin: Run, body: ReplayBody) -> Variant:
    """What is to be different; where nobody asks for a model it is that of the run, which may be a replay itself."""
    had = None if origin.variant is None else origin.variant.model
    return Variant(
        origin=origin.run_id,
        agent_version=body.agent_version,
        model=had if body.model is None else body.model,
        from_step=body.from_step,
    )


async def _entry(context: Context, found: RunResult, variant: Variant) -> CatalogEntry:
    """The agent as the replay wants it; NotFoundError, ConflictError and InvalidInputError where it cannot be had."""
    origin = found.run
    entry = await context.services.versions.entry(origin.agent, variant.agent_version or origin.agent_version)
    if entry.definition.mode.value != origin.mode:
        raise ConflictError(
            f"version {entry.version} of {origin.agent!r} is {entry.definition.mode.value} and the run was "
            f"{origin.mode}: only a version of the same execution_mode can replay it",
            code="other_mode",
        )
    return entry if variant.model is None else with_model(entry, variant.model)


async def _event_id(context: Context, run_id: str, body: ReplayBody) -> str:
    """It follows from the run, what is wanted and how often that was wanted (DESIGN.md, R3)."""
    wanted = hashlib.sha256(orjson.dumps(body.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()
    numbered = [derive_id("replay", run_id, wanted, number) for number in range(1, MAX_REPLAYS + 1)]
    known = await context.services.queries.known_events(numbered)
    event_id = next((each for each in numbered if each not in known), None)
    if event_id is None:
        raise ConflictError(f"run {run_id} was replayed {MAX_REPLAYS} times", code="too_many_replays")
    return event_id


async def _parts(context: Context, whole: RunResult) -> list[Part]:
    """The run and everything under it, with the calls of each."""
    replays = context.services.replays
    family = await replays.family(whole.run.run_id)
    paths = paths_of(whole.run.run_id, family)
    return [
        Part(
            path=paths[found.run.run_id],
            result=found,
            error=shapes.run_error(found.error),
            calls=calls_of(await replays.entries(found.run.run_id, found.run.context_no)),
        )
        for found in family
    ]
