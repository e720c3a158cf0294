"""Dead letters as verbs: kept when nobody could handle an event, sent again or dropped by a person."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from callboard.clock import Clock
from callboard.ids import derive_id
from callboard.messaging.delivery import Undeliverable
from callboard.messaging.events import Actor
from callboard.state.announcer import Announcer
from callboard.state.database import Database
from callboard.state.dead_letters import DeadLetter
from callboard.state.sql import dead_letters


class DeadLetterStore:
    """`keep` is the bus's `DeadLetterSink`."""

    def __init__(self, database: Database, announcer: Announcer, clock: Clock) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock

    async def keep(self, letter: Undeliverable) -> None:
        """Durable when it returns; a letter that comes with its id is kept once, however often it is handed over.

        An event that fails again after it was requeued is a letter of its own.
        """
        now = self._clock.now()
        kept = DeadLetter(
            id=letter.letter_id
            or derive_id("dead", letter.queue, letter.event_id or letter.body.hex(), now.isoformat()),
            queue=letter.queue,
            topic=letter.topic,
            reason=letter.reason,
            body=letter.body,
            deliveries=letter.deliveries,
            status="kept",
            created_at=now,
            event_id=letter.event_id,
            trace_id=letter.trace_id,
            tenant=letter.tenant,
        )
        await self._database.write(partial(dead_letters.keep, letter=kept))

    async def letters(self, tenant: str, status: str | None = "kept", limit: int = 100) -> Sequence[DeadLetter]:
        """Newest first."""
        return await self._database.read(partial(dead_letters.list_letters, tenant=tenant, status=status, limit=limit))

    async def letter(self, letter_id: str, *, tenant: str = "default") -> DeadLetter:
        """Raises NotFoundError."""
        return await self._database.read(partial(dead_letters.load_letter, tenant=tenant, letter_id=letter_id))

    async def requeue(self, letter_id: str, actor: Actor, *, tenant: str = "default") -> DeadLetter:
        """Sends the letter's event once more: into the store where it never got that far, else to whom it is for.

        It keeps its ids, its trace and its timestamp. NotFoundError, ConflictError (closed before, or stored with
        another payload), InvalidInputError for a body that is no event.
        """
        letter, told = await self._database.write(
            partial(dead_letters.requeue, tenant=tenant, letter_id=letter_id, actor=actor, now=self._clock.now())
        )
        self._announcer.offer(told)
        return letter

    async def drop(self, letter_id: str, actor: Actor, *, tenant: str = "default") -> DeadLetter:
        """Nobody will send it again; it stays readable. NotFoundError, ConflictError."""
        return await self._database.write(
            partial(dead_letters.drop, tenant=tenant, letter_id=letter_id, actor=actor, now=self._clock.now())
        )

    async def count(self) -> int:
        """How many are kept."""
        return await self._database.read(dead_letters.count_kept)
