"""The inbox: what other systems publish and what the gateway deposits becomes rows (DESIGN.md, rule 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson

from callboard.clock import Clock
from callboard.config.catalog import Catalog
from callboard.errors import ConflictError, InvalidInputError, TooLargeError, UnavailableError
from callboard.ids import Ids
from callboard.logs import StructuredLogger, bind_trace
from callboard.messaging.delivery import Queue, RejectDelivery
from callboard.messaging.events import Event
from callboard.messaging.foreign_events import check_message, event_from
from callboard.messaging.message import Message, MessageSource
from callboard.messaging.routing import matches_any
from callboard.messaging.topology import (
    HEADER_DEDUPE_KEYS,
    HEADER_ORIGIN,
    HEADER_TOPIC,
    INBOX,
    INBOX_RETRY_SECONDS,
    MAX_DELIVERIES,
    ORIGIN,
    addressee,
)
from callboard.state.accepting import EventDraft
from callboard.state.store import Store

AT_ONCE = 32
"""Events that are accepted together, by one commit where the store can."""
MOST_KEYS = 16
LONGEST_KEY = 300


class Ingress:
    """Accepts each message of the inbox as an event, once.

    Refused for good, with the reason: what is no event, an event for an agent that does not exist, another payload
    under a known id. Dropped: events of other systems that no agent subscribes to.
    """

    def __init__(
        self,
        store: Store,
        catalog: Callable[[], Catalog],
        clock: Clock,
        ids: Ids,
        *,
        max_deliveries: int = MAX_DELIVERIES,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._ids = ids
        self._patterns: tuple[str, ...] = ()
        self._number = -1
        self._log = StructuredLogger("agent-orchestrator")
        self.queue = Queue(
            name=INBOX,
            patterns=(),
            max_deliveries=max_deliveries,
            retry_seconds=INBOX_RETRY_SECONDS,
            concurrency=AT_ONCE,
        )
        self.accepted = 0
        self.dropped = 0
        """Events of other systems that nobody subscribes to."""

    def consume_from(self, bus: MessageSource) -> None:
        """Works the inbox from the bus's start on."""
        bus.consume(self.queue, self.accept)

    async def accept(self, message: Message) -> None:
        """Durable when it returns; RejectDelivery with the reason, UnavailableError while the database is away."""
        try:
            draft = self._draft(message)
        except (InvalidInputError, TooLargeError) as error:
            raise RejectDelivery(error.message) from error
        if draft is None:
            self.dropped += 1
            self._log.debug("an event that nobody subscribes to", topic=message.topic[:200])
            return
        event = draft.event
        with bind_trace(event.trace_id):
            try:
                accepted = await self._store.accept_event(draft)
            except (ConflictError, InvalidInputError, TooLargeError) as error:
                raise RejectDelivery(error.message) from error
            self.accepted += 1
            self._log.info(
                "event accepted from the bus",
                event_id=accepted.event_id,
                topic=event.topic,
                duplicate=accepted.duplicate,
            )

    def _draft(self, message: Message) -> EventDraft | None:
        """What to accept; None for what nobody wants. Raises InvalidInputError, TooLargeError."""
        check_message(size=message.size, content_type=message.content_type, content_encoding=message.content_encoding)
        if message.headers.get(HEADER_ORIGIN) == ORIGIN:
            return EventDraft(event=_deposited(message), dedupe_keys=_dedupe_keys(message))
        topic = message.headers.get(HEADER_TOPIC, message.topic)
        event = event_from(
            message.body,
            topic=topic if isinstance(topic, str) and topic != INBOX else None,
            headers=message.headers,
            now=self._clock.now(),
            new_id=self._ids.new,
            message_id=message.message_id,
            app_id=message.app_id,
        )
        return EventDraft(event=event) if self._wanted(event.topic) else None

    def _wanted(self, topic: str) -> bool:
        catalog = self._catalog()
        if catalog.number == 0:
            raise UnavailableError("no agent definitions are loaded yet: nobody can say whom an event is for")
        named = addressee(topic)
        if named is not None:
            if catalog.get(named) is None:
                raise InvalidInputError(f"there is no agent {named[:80]!r}")
            return True
        if catalog.number != self._number:
            self._patterns = tuple({pattern for entry in catalog for pattern in entry.definition.subscriptions})
            self._number = catalog.number
        return topic.startswith("slack.") or matches_any(self._patterns, topic)


def _deposited(message: Message) -> Event:
    """An event of our own, complete; Event.from_json refuses a schema version of a later release."""
    event = Event.from_json(message.body)
    return event if event.retry_count == 0 else replace(event, retry_count=0)


def _dedupe_keys(message: Message) -> tuple[str, ...]:
    header = message.headers.get(HEADER_DEDUPE_KEYS)
    if header is None:
        return ()
    try:
        keys = orjson.loads(header) if isinstance(header, str | bytes) else None
    except orjson.JSONDecodeError:
        keys = None
    if (
        not isinstance(keys, list)
        or len(keys) > MOST_KEYS
        or not all(isinstance(key, str) and 0 < len(key) <= LONGEST_KEY for key in keys)
    ):
        raise InvalidInputError(f"the header {HEADER_DEDUPE_KEYS} is no JSON list of keys")
    return tuple(keys)
