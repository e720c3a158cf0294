"""What agents remember over HTTP: to look at, to correct, and to have forgotten."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from callboard.errors import NotFoundError
from callboard.integrations.http_api.bodies import ClearMemoryBody, ForgetBody, RememberBody
from callboard.integrations.http_api.context import Context, InContext, PageSize, agent_ever, cursor_of
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply
from callboard.state.memories import Conversation, Forgotten, Memory

EVERYBODY = "agent"
"""The conversation of an agent whose memory is not divided, and the scope of entries that all share."""
ConversationId = Annotated[
    str | None, Query(min_length=1, max_length=200, description="Which one; else the one that was written last.")
]


def memory_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/agents/{{name}}/memory", tags=["memory"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None, 404))(list_conversations)
    router.get("/conversation", **answers(200, None, 404))(show_conversation)
    router.post("/set", **answers(200, None, 404, 409))(set_entry)
    router.post("/forget", **answers(200, None, 404, 409))(forget)
    router.post("/clear", **answers(200, None, 404, 409))(clear)
    return router


async def list_conversations(
    context: InContext, name: str, limit: PageSize = 50, cursor: str | None = None
) -> JsonReply:
    """Everything the agent remembers, by conversation, the one that was written last first."""
    await _agent(context, "memory.read", name)
    start = cursor_of(cursor) or 0
    found = await context.services.memory.conversations(name, tenant=context.tenant)
    page = found[start : start + limit]
    more = start + limit < len(found)
    return JsonReply(
        {
            "agent": name,
            "conversations": [_conversation(each) for each in page],
            "next_cursor": str(start + limit) if more else None,
        }
    )


async def show_conversation(
    context: InContext,
    name: str,
    conversation_id: ConversationId = None,
    limit: PageSize = 50,
    cursor: str | None = None,
) -> JsonReply:
    """One conversation: its summary, its entries with where they came from, and its newest messages, oldest first.

    `next_cursor` leads to the messages before. A message with `summarised` is told to the model by the summary alone.
    """
    await _agent(context, "memory.read", name)
    memory = context.services.memory
    if conversation_id is None:
        known = await memory.conversations(name, tenant=context.tenant)
        conversation_id = known[0].conversation_id if known else EVERYBODY
    before = cursor_of(cursor)
    page = await memory.page(name, conversation_id, before=before, limit=limit, tenant=context.tenant)
    if page is None:
        raise NotFoundError(
            f"agent {name} remembers nothing of conversation {conversation_id!r}: `callboard memory list {name}` shows "
            "what there is",
            code="no_memory",
        )
    entries = await memory.entries(name, conversation_id, tenant=context.tenant)
    first = page.messages[0][0] if page.messages else 0
    return JsonReply(
        {
            "agent": name,
            "conversation": _conversation(page.conversation),
            "summary": page.summary,
            "summary_untrusted": page.summary_untrusted,
            "entries": [_entry(entry) for entry in entries],
            "messages": [
                {**message, "n": n, "run_id": run_id, "summarised": n < page.conversation.summarised}
                for n, run_id, message in page.messages
            ],
            "next_cursor": str(first) if first > 0 else None,
        }
    )


async def set_entry(context: InContext, name: str, body: RememberBody) -> JsonReply:
    """Puts a value under a key, in place of what was there; the agent's next look finds it. On record."""
    await _agent(context, "memory.write", name)
    scope = body.conversation_id or EVERYBODY
    entry = await context.services.memory.set(name, scope, body.key, body.value, context.actor, tenant=context.tenant)
    return JsonReply(_entry(entry))


async def forget(context: InContext, name: str, body: ForgetBody) -> JsonReply:
    """Forgets the entries that fit all that is given, which without anything are all of the agent's. On record.

    With a run and no key also the messages that the run has added, and a summary that may tell of them.
    """
    await _agent(context, "memory.write", name)
    done = await context.services.memory.forget(
        name, context.actor, scope=body.conversation_id, key=body.key, run_id=body.run_id, tenant=context.tenant
    )
    return JsonReply(_forgotten(done))


async def clear(context: InContext, name: str, body: ClearMemoryBody) -> JsonReply:
    """Forgets one conversation with its messages, summary and entries, or all of them. On record."""
    await _agent(context, "memory.write", name)
    done = await context.services.memory.clear(
        name, context.actor, conversation_id=body.conversation_id, tenant=context.tenant
    )
    return JsonReply(_forgotten(done))


async def _agent(context: Context, action: str, name: str) -> None:
    context.may(action, name)
    await agent_ever(context, name)


def _conversation(conversation: Conversation) -> dict[str, Any]:
    return {
        "conversation_id": conversation.conversation_id,
        "version": conversation.version,
        "turns": conversation.turns,
        "messages": conversation.messages,
        "summarised": conversation.summarised,
        "entries": conversation.entries,
        "updated_at": conversation.updated_at,
    }


def _entry(entry: Memory) -> dict[str, Any]:
    source = entry.source
    return {
        "conversation_id": entry.scope,
        "key": entry.key,
        "value": entry.value,
        "run_id": source.run_id,
        "by": source.actor,
        "via": source.via,
        "untrusted": source.untrusted,
        "updated_at": entry.updated_at,
    }


def _forgotten(done: Forgotten) -> dict[str, Any]:
    return {"entries": done.entries, "messages": done.messages, "conversations": done.conversations}
