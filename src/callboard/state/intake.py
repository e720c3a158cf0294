"""Where requests from outside become durable: in the database, else in the broker's inbox (DESIGN.md, rule 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.events import Event
from callboard.state.accepting import Accepted, EventDraft

DATABASE_SECONDS = 1.0
"""So long a request waits for the database before it goes to the broker: Slack waits three seconds for everything."""

Deposit = Callable[[Event, tuple[str, ...]], Awaitable[None]]
"""An event with its dedupe keys, durable in the inbox when it returns; UnavailableError otherwise."""


class Intake:
    """Accepts by the database while that answers, by the broker while it does not.

    What the database may have taken all the same, without our hearing of it, is met again by its event id when the
    inbox is worked off: nothing runs twice.
    """

    def __init__(
        self,
        accept: Callable[[EventDraft], Awaitable[Accepted]],
        deposit: Deposit,
        *,
        database_seconds: float = DATABASE_SECONDS,
    ) -> None:
        self._accept = accept
        self._deposit = deposit
        self._database_seconds = database_seconds
        self._log = StructuredLogger("slack-gateway")

    async def accept(self, draft: EventDraft) -> Accepted:
        """Durable when it returns; ConflictError, and UnavailableError with neither database nor broker."""
        try:
            async with asyncio.timeout(self._database_seconds):
                return await self._accept(draft)
        except (UnavailableError, TimeoutError) as error:
            reason = error.message if isinstance(error, UnavailableError) else "no answer in time"
        await self._deposit(draft.event, draft.dedupe_keys)
        self._log.warning("event kept by the broker", event_id=draft.event.event_id, reason=reason)
        return Accepted(event_id=draft.event.event_id, trace_id=draft.event.trace_id, duplicate=False, seq=0)
