"""What a border hands to the store, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass

from callboard.messaging.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event and the keys under which it must be met only once (DESIGN.md, R1).

    With a `digest`, the same key with another digest is refused instead of being taken for a repetition.
    """

    event: Event
    dedupe_keys: tuple[str, ...] = ()
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The event that is stored now: the draft's own, or for a repetition the one that came first."""

    event_id: str
    trace_id: str
    seq: int
    duplicate: bool
