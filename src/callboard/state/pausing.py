"""Runs that wait for a provider or for others' reservations: when to look again, when to give up, when to say so. Pure.

A pause belongs to a series, which lasts until the run gets a model's answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from callboard.state.runs import WaitingKind

PATIENCE = timedelta(hours=1)
UNTOLD = timedelta(seconds=5)
"""A series that is over within this is no news: a single failure of a provider is mended by the next call."""
BY_ITSELF = timedelta(seconds=1)
"""Runs that come back one in so long are no herd, however long they have waited."""
HEALED = timedelta(seconds=3)
"""A run that is about to wait for what was healed so short a time ago has not heard of it."""

_WHAT = {WaitingKind.PROVIDER: "the model provider", WaitingKind.BUDGET: "the budget that other runs have reserved"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """What becomes of a pause: `until` is when it is over, None when the run has waited long enough."""

    since: datetime
    until: datetime | None
    tell: bool


def pause(now: datetime, until: datetime, since: datetime | None, patience: timedelta) -> Pause:
    """`since` is the beginning of the series, None for its first pause. The last look comes when the patience ends."""
    begun = since or now
    if now - begun >= patience:
        return Pause(since=begun, until=None, tell=False)
    end = min(max(until, now), begun + patience)
    return Pause(since=begun, until=end, tell=end - begun > UNTOLD)


def spread(count: int, oldest: datetime, now: datetime) -> list[datetime]:
    """When each of `count` runs comes back, in their order.

    They come over as long a time as they took to pile up, so that with those that are new it is twice the usual rate
    at most (RELIABILITY.md, G2); few of them come one a second.
    """
    if count == 0:
        return []
    span = max(timedelta(0), now - oldest)
    gap = min(span / count, BY_ITSELF)
    return [now + number * gap for number in range(count)]


def words(kind: WaitingKind, reason: str, give_up_at: datetime) -> str:
    """What people are told, once a run."""
    return (
        f"This waits for {_WHAT[kind]} ({reason}). It goes on by itself as soon as that is possible, "
        f"and is given up at {give_up_at:%H:%M} UTC."
    )


def given_up(kind: WaitingKind, reason: str, patience: timedelta) -> str:
    return f"waited {patience.total_seconds():g} s for {_WHAT[kind]}: {reason}"
