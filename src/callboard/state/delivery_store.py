"""The responder's side of the store: the ledger of messages to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.state.database import Database
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryDraft
from callboard.state.sql import deliveries, question_messages


class DeliveryStore:
    """Every method is one transaction. Several responders on one database may call everything at the same time.

    `pace` is the least time between two messages of one pace key (Slack: about one a second a channel).
    """

    def __init__(self, database: Database, clock: Clock, *, pace: timedelta = timedelta(seconds=1)) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._unanswered: set[datetime] = set()

    async def plan(self, drafts: Sequence[DeliveryDraft]) -> int:
        """Plans those that are not planned yet; may be repeated."""
        now = self._clock.now()
        return await self._database.write(lambda connection: deliveries.plan_deliveries(connection, drafts, now))

    async def claim(self, owner: str, limit: int) -> list[Delivery]:
        """Due deliveries that are `owner`'s from now on; what a dead process had under way comes as `interrupted`."""
        now = self._clock.now()
        unanswered = tuple(self._unanswered)
        try:
            claimed = await self._database.write(
                lambda connection: deliveries.claim_deliveries(
                    connection, owner, limit, now, self._pace, unanswered=unanswered
                )
            )
        except UnavailableError:
            # Nobody knows whether deliveries were taken then: the next claim lets go of them.
            self._unanswered.add(now)
            raise
        self._unanswered.difference_update(unanswered)
        return claimed

    async def finish(self, delivery: Delivery, outcome: AttemptOutcome) -> bool:
        """False when the delivery is somebody else's by now: then nothing was written. May be repeated."""
        now = self._clock.now()
        return await self._database.write(
            lambda connection: question_messages.finish(connection, delivery, outcome, now)
        )

    async def remember(self, delivery: Delivery, body: dict[str, Any]) -> bool:
        """What the rest of an attempt and every later one has to know; False when it is somebody else's by now."""
        now = self._clock.now()
        return await self._database.write(lambda connection: deliveries.keep_body(connection, delivery, body, now))

    async def release(self, owner: str) -> int:
        """Lets go of everything that `owner` has under way."""
        now = self._clock.now()
        return await self._database.write(lambda connection: deliveries.release_deliveries(connection, owner, now))

    async def of_run(self, run_id: str) -> list[Delivery]:
        """The deliveries of a run, in the order they were planned."""
        return await self._database.read(lambda connection: deliveries.load_deliveries(connection, run_id=run_id))

    async def of_trace(self, trace_id: str) -> list[Delivery]:
        """The deliveries of everything that one trace led to, in the order they were planned."""
        return await self._database.read(lambda connection: deliveries.load_deliveries(connection, trace_id=trace_id))

    async def counts(self) -> dict[str, int]:
        """How many deliveries there are of each status."""
        return await self._database.read(deliveries.count_deliveries)
