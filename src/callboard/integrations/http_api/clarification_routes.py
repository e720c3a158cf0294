"""Questions that runs wait on, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from callboard.errors import NotFoundError
from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.bodies import AnswerBody
from callboard.integrations.http_api.context import InContext, PageSize, known_id
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.invocations import answer_reply
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply
from callboard.state.clarifications import ClarificationStatus


def clarification_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/clarifications", tags=["clarifications"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None))(list_clarifications)
    router.get("/{clarification_id}", **answers(200, None, 404))(show_clarification)
    router.post("/{clarification_id}/answer", **answers(200, None, 404, 409))(answer)
    return router


async def list_clarifications(
    context: InContext, status: ClarificationStatus | None = None, limit: PageSize = 50
) -> JsonReply:
    """Newest first."""
    context.may("clarification.list")
    found = await context.services.store.clarifications(context.tenant, status.value if status else None, limit)
    return JsonReply({"clarifications": [shapes.clarification(each) for each in found]})


async def show_clarification(context: InContext, clarification_id: str) -> JsonReply:
    """One question, with its answer if it has one."""
    context.may("clarification.read", clarification_id)
    found = await context.services.store.clarification(known_id(clarification_id, "question"), tenant=context.tenant)
    if found is None:
        raise NotFoundError(f"there is no question {clarification_id}", code="no_question")
    return JsonReply(shapes.clarification(found))


async def answer(context: InContext, clarification_id: str, body: AnswerBody) -> JsonReply:
    """The first answer wins; a later one is told who gave which, and 403 who may."""
    context.may("clarification.answer", clarification_id)
    return await answer_reply(context, body, None, known_id(clarification_id, "question"))
