"""Slack out: the loop that works the ledger of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from callboard.clock import Clock
from callboard.errors import CallboardError, UnavailableError
from callboard.integrations.slack_attempt import attempt
from callboard.integrations.slack_blocks import Content, ResultContent, render
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_file_attempt import FileDesk, LoadFile, attempt_file, no_file
from callboard.lifecycle import StopSignal
from callboard.logs import StructuredLogger, bind_trace
from callboard.messaging.claim_loop import ClaimLoop, Slots
from callboard.messaging.wakeup import WakeUp
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryStatus
from callboard.state.delivery_store import DeliveryStore

LoadContent = Callable[[Delivery], Awaitable[Content]]
"""What a delivery says, read from the run, the clarification or its own body; NotFoundError where that is gone."""

WRITING_TRIES = 3
"""So often a message is written anew after an error that nobody foresaw, before it fails for good."""
UPLOADS_AT_ONCE = 4
"""So many files are in memory at once, 8 MiB each at most, and so many of the slots can a slow upload hold."""

_ENDED = (DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN)


class SlackResponder:
    """Claims due deliveries and sends them, several at a time, one a channel.

    `owner` is this process's id. Losing a wake-up costs at most `poll_seconds`. Any number of responders may work on
    one database.
    """

    def __init__(
        self,
        store: DeliveryStore,
        slack: SlackClient,
        content: LoadContent,
        clock: Clock,
        owner: str,
        *,
        concurrency: int = 20,
        poll_seconds: float = 1.0,
        may_send: Callable[[], bool] = lambda: True,
        file: LoadFile = no_file,
    ) -> None:
        """`may_send` says whether this process still holds what it has claimed (DESIGN.md, R14); `file` gives the
        bytes of an artifact by its id and tenant."""
        self._store = store
        self._slack = slack
        self._content = content
        self._clock = clock
        self._owner = owner
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._may_send = may_send
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._files = FileDesk(load=file, remember=store.remember, may_send=may_send)
        self._wake = WakeUp()
        self._loop: ClaimLoop[Delivery] = ClaimLoop(
            "slack-responder",
            slots=Slots(total=concurrency),
            wake=self._wake,
            claim=self._claim,
            work=self._deliver,
            clock=clock,
            poll_seconds=poll_seconds,
        )
        self._log = StructuredLogger("slack-responder")

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    async def run(self, stop: StopSignal) -> None:
        """Works until asked to stop, then finishes what is under way: each request has a timeout.

        Cancelled, it leaves what is under way to be looked up by whoever comes next.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stop_when_asked(stop))
                await self._loop.run()
            await self._loop.drained()
        finally:
            await self._loop.abort()

    async def work_once(self) -> int:
        """Claims what is due now and waits until all of it has been tried; returns how many."""
        claimed = await self._claim(self._concurrency)
        await asyncio.gather(*(self._deliver(delivery) for delivery in claimed))
        return len(claimed)

    async def _stop_when_asked(self, stop: StopSignal) -> None:
        await stop.wait()
        self._loop.stop()

    async def _claim(self, free: int) -> list[Delivery]:
        return await self._store.claim(self._owner, free)

    async def _deliver(self, delivery: Delivery) -> None:
        with bind_trace(delivery.trace_id, run_id=delivery.run_id):
            outcome = await self._attempt(delivery)
            await self._finish(delivery, outcome)
        # The next message of the thread may be waiting for this one.
        self.wake()

    async def _attempt(self, delivery: Delivery) -> AttemptOutcome:
        try:
            if delivery.kind == "file":
                return await self._put(delivery)
            content = await self._content(delivery)
            message = render(content, delivery_id=delivery.id, repeat=delivery.repeats is not None)
        except UnavailableError as error:
            return self._not_yet(delivery, error)
        except CallboardError as error:
            return AttemptOutcome(status=DeliveryStatus.FAILED, error={"code": error.code, "message": error.message})
        except Exception:  # noqa: BLE001  # one message that cannot be written must not hold up its thread for ever
            self._log.exception("a message could not be written", delivery_id=delivery.id, kind=delivery.kind)
            if delivery.attempt < WRITING_TRIES:
                # What broke may have been what the content comes from, not the content.
                return self._not_yet(delivery, UnavailableError("the message could not be written"))
            return AttemptOutcome(
                status=DeliveryStatus.FAILED,
                error={"code": "unwritable", "message": "the message could not be written; see the log"},
            )
        if not self._may_send():
            return self._not_yet(delivery, UnavailableError("this process was silent for so long that others may send"))
        files = content.files if isinstance(content, ResultContent) else ()
        return await attempt(delivery, message, self._slack, self._clock, files=files)

    async def _put(self, delivery: Delivery) -> AttemptOutcome:
        if not self._may_send():
            raise UnavailableError("this process was silent for so long that others may send")
        if self._uploads.locked():
            # Back into the ledger instead of waiting here, where it would keep messages from being sent.
            raise UnavailableError("other files are being uploaded")
        async with self._uploads:
            return await attempt_file(delivery, self._files, self._slack, self._clock)

    def _not_yet(self, delivery: Delivery, error: UnavailableError) -> AttemptOutcome:
        return AttemptOutcome(
            status=DeliveryStatus.ATTEMPTING if delivery.interrupted else DeliveryStatus.PLANNED,
            next_try=self._clock.now() + timedelta(seconds=self._poll_seconds),
            error={"code": error.code, "message": error.message},
        )

    async def _finish(self, delivery: Delivery, outcome: AttemptOutcome) -> None:
        """Writes the outcome, however long the database is away: it is known only here."""
        while True:
            try:
                kept = await self._store.finish(delivery, outcome)
            except UnavailableError as error:
                self._log.warning("a delivery's outcome cannot be written yet", reason=error.message)
                await self._clock.sleep(self._poll_seconds)
            else:
                return self._report(delivery, outcome, kept)

    def _report(self, delivery: Delivery, outcome: AttemptOutcome, kept: bool) -> None:
        fields: dict[str, Any] = {
            "delivery_id": delivery.id,
            "kind": delivery.kind,
            "status": outcome.status.value,
            "attempt": delivery.attempt,
            "code": (outcome.error or {}).get("code"),
        }
        if not kept:
            self._log.warning("a delivery was taken over meanwhile", **fields)
        elif outcome.status is DeliveryStatus.SENT:
            self._log.info("message sent", **fields)
        elif outcome.status in _ENDED:
            self._log.error("message not sent", reason=(outcome.error or {}).get("message"), **fields)
        else:
            self._log.warning("message will be tried again", reason=(outcome.error or {}).get("message"), **fields)
