"""Events that nobody could record: kept with the reason, to be sent again or dropped by a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """`body` is what was delivered, as it was; it need not be an event at all."""

    id: str
    queue: str
    topic: str
    reason: str
    body: bytes
    deliveries: int
    status: str
    created_at: datetime
    event_id: str | None = None
    trace_id: str | None = None
    closed_at: datetime | None = None
    tenant: str = "default"
