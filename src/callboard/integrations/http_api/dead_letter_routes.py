"""Dead letters over HTTP."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.context import InContext, PageSize, known_id
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply

LONGEST_BODY = 16_384


def dead_letter_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/deadletters", tags=["dead letters"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None))(list_letters)
    router.get("/{letter_id}", **answers(200, None, 404))(show_letter)
    router.post("/{letter_id}/requeue", **answers(200, None, 404, 409))(requeue)
    router.post("/{letter_id}/drop", **answers(200, None, 404, 409))(drop)
    return router


async def list_letters(
    context: InContext, status: Literal["kept", "requeued", "dropped"] | None = None, limit: PageSize = 50
) -> JsonReply:
    """Newest first."""
    context.may("deadletter.list")
    letters = await context.services.dead_letters.letters(context.tenant, status, limit)
    return JsonReply({"dead_letters": [shapes.dead_letter(letter) for letter in letters]})


async def show_letter(context: InContext, letter_id: str) -> JsonReply:
    """One letter with the beginning of what was delivered."""
    context.may("deadletter.read", letter_id)
    letter = await context.services.dead_letters.letter(known_id(letter_id, "dead letter"), tenant=context.tenant)
    return JsonReply({**shapes.dead_letter(letter), "body": letter.body[:LONGEST_BODY].decode("utf-8", "replace")})


async def requeue(context: InContext, letter_id: str) -> JsonReply:
    """Publishes the letter's event once more."""
    context.may("deadletter.requeue", letter_id)
    letter = await context.services.dead_letters.requeue(
        known_id(letter_id, "dead letter"), context.actor, tenant=context.tenant
    )
    return JsonReply(shapes.dead_letter(letter))


async def drop(context: InContext, letter_id: str) -> JsonReply:
    """Closes a letter for good."""
    context.may("deadletter.drop", letter_id)
    letter = await context.services.dead_letters.drop(
        known_id(letter_id, "dead letter"), context.actor, tenant=context.tenant
    )
    return JsonReply(shapes.dead_letter(letter))
