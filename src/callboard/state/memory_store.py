"""What agents remember, as verbs: of tools, which keep and look up entries, and of people, who look and correct."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from callboard.clock import Clock
from callboard.messaging.events import Actor
from callboard.state.database import Database
from callboard.state.memories import (
    MAX_ENTRIES,
    MOST_ENTRIES,
    Conversation,
    ConversationPage,
    Forgotten,
    Memory,
    Source,
    checked_key,
    checked_value,
)
from callboard.state.sql import conversations, memories


class MemoryStore:
    """Entries belong to (tenant, agent, scope) and are kept until somebody forgets them.

    What people change is on record with the actor, in the same transaction.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def remember(
        self,
        agent: str,
        scope: str,
        key: str,
        value: Any,
        *,
        run_id: str,
        actor: Actor | None,
        untrusted: bool,
        max_entries: int = MAX_ENTRIES,
        tenant: str = "default",
    ) -> bool:
        """Whether anything has changed: the same value again changes nothing. By a run.

        Raises InvalidInputError, TooLargeError, and ConflictError where the scope is full (runs that write at one
        moment may pass `max_entries` by as many as they are).
        """
        now = self._clock.now()
        source = Source.of(actor, now, run_id=run_id, untrusted=untrusted)
        memory = Memory(
            tenant=tenant,
            agent=agent,
            scope=scope,
            key=checked_key(key),
            value=checked_value(value),
            source=source,
            updated_at=now,
        )
        unit = partial(memories.remember, memory=memory, max_entries=max_entries)
        return await self._database.write(unit, repeatable=True)

    async def entries(
        self, agent: str, scope: str | None = None, key: str | None = None, *, tenant: str = "default"
    ) -> Sequence[Memory]:
        """Newest first."""
        return await self._database.read(partial(memories.entries, tenant=tenant, agent=agent, scope=scope, key=key))

    async def set(
        self, agent: str, scope: str, key: str, value: Any, actor: Actor, *, tenant: str = "default"
    ) -> Memory:
        """By a person, whose word it is from then on. Raises as `remember` does."""
        now = self._clock.now()
        memory = Memory(
            tenant=tenant,
            agent=agent,
            scope=scope,
            key=checked_key(key),
            value=checked_value(value),
            source=Source.of(actor, now),
            updated_at=now,
        )
        await self._database.write(partial(memories.remember, memory=memory, max_entries=MOST_ENTRIES, actor=actor))
        return memory

    async def conversations(self, agent: str, *, tenant: str = "default") -> Sequence[Conversation]:
        """The one that was written last first."""
        return await self._database.read(partial(conversations.conversations, tenant=tenant, agent=agent))

    async def page(
        self, agent: str, conversation_id: str, *, before: int | None = None, limit: int = 50, tenant: str = "default"
    ) -> ConversationPage | None:
        """The last messages before the message `before`; None for a conversation of which nothing is known."""
        unit = partial(conversations.page, tenant=tenant, agent=agent, conversation_id=conversation_id)
        return await self._database.read(partial(unit, before=before, limit=limit))

    async def forget(
        self,
        agent: str,
        actor: Actor,
        *,
        scope: str | None = None,
        key: str | None = None,
        run_id: str | None = None,
        tenant: str = "default",
    ) -> Forgotten:
        """Entries that fit all that is given. With a run and no key also what the run has added to conversations, and
        the summaries that may tell of it; ConflictError while such a conversation is being worked on."""
        unit = partial(conversations.forget, tenant=tenant, agent=agent, scope=scope, key=key, run_id=run_id)
        return await self._database.write(partial(unit, actor=actor, now=self._clock.now()))

    async def clear(
        self, agent: str, actor: Actor, *, conversation_id: str | None = None, tenant: str = "default"
    ) -> Forgotten:
        """Messages, summary and entries of one conversation, or of all; ConflictError while one is worked on."""
        unit = partial(conversations.clear, tenant=tenant, agent=agent, conversation_id=conversation_id)
        return await self._database.write(partial(unit, actor=actor, now=self._clock.now()))
