"""RabbitMQ buses for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from callboard.errors import UnavailableError
from callboard.messaging.event_bus import EventBus
from callboard.messaging.events import Actor, Event, EventType
from tests.support.waiting import wait_until


async def carries(bus: EventBus) -> bool:
    """Whether the bus is well."""
    try:
        await bus.ping()
    except UnavailableError:
        return False
    return True


async def until_it_carries(bus: EventBus, *, within: float = 30.0) -> None:
    await wait_until(lambda: carries(bus), "the bus carries events", within=within)


def event(event_id: str, topic: str = "orders.created", **changes: Any) -> Event:
    """An event with ids that a broker and a database take."""
    return Event(
        **{
            "event_id": event_id,
            "event_type": EventType.EXTERNAL,
            "topic": topic,
            "timestamp": datetime.now(UTC),
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "actor": Actor(kind="system", id="test"),
            "payload": {"text": "ü"},
            **changes,
        }
    )
