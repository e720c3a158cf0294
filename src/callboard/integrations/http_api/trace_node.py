"""A node of a trace: one thing that happened, and what hangs under it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class Node:
    """One thing that happened. Without an end it is still going on, or was a moment."""

    kind: str
    id: str
    name: str
    status: str | None
    started_at: datetime
    finished_at: datetime | None
    details: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    @property
    def duration_ms(self) -> float | None:
        if self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000, 3)

    def to_record(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "duration_ms": self.duration_ms,
            **self.details,
            "children": [child.to_record() for child in self.children],
        }
