"""The circuit breaker: when a provider is left alone, and who may look whether it is back. Pure.

Closed: every call goes through, failures in a row are counted. Open: none goes through, for a time that doubles with
each opening. Half-open: that time is over, and one call, the probe, goes through; its end closes or opens the breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from callboard.retry import Backoff

BreakerStatus: TypeAlias = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """`failures` in a row open it; the jitter keeps breakers that opened together from probing together."""

    failures: int = 5
    opening: Backoff = Backoff(first_seconds=10.0, factor=2.0, cap_seconds=300.0, jitter=0.2)  # noqa: RUF009  # frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """`failures` counts those in a row, of probes too, which is how often it has opened since it was last closed.

    `open_until` is None while it is closed. `probe_until` is the end of the lease under which somebody probes, and the
    token of that probe.
    """

    failures: int = 0
    open_until: datetime | None = None
    probe_until: datetime | None = None

    def status(self, now: datetime) -> BreakerStatus:
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half_open"

    def seconds_left(self, now: datetime) -> float:
        """Until somebody may call: the rest of the opening, or of the probe that is under way."""
        ends = [end for end in (self.open_until, self.probe_until) if end is not None]
        return max((max(0.0, (end - now).total_seconds()) for end in ends), default=0.0)


def failed(breaker: Breaker, now: datetime, settings: BreakerSettings, *, count: int, random: float) -> Breaker:
    """`count` calls that went through a closed breaker have failed; an open one knows that already."""
    if breaker.open_until is not None or count <= 0:
        return breaker
    failures = breaker.failures + count
    if failures < settings.failures:
        return replace(breaker, failures=failures)
    return _opened(settings.failures, now, settings, random)


def succeeded(breaker: Breaker) -> Breaker:
    """A call that went through a closed breaker was answered. What began before an opening proves nothing after it."""
    return replace(breaker, failures=0) if breaker.open_until is None and breaker.failures else breaker


def begin_probe(breaker: Breaker, now: datetime, lease_seconds: float) -> Breaker:
    """The breaker with a new probe, or itself where none may begin: not half-open, or another's is under way."""
    if breaker.status(now) != "half_open" or (breaker.probe_until is not None and now < breaker.probe_until):
        return breaker
    return replace(breaker, probe_until=now + timedelta(seconds=lease_seconds))


def probe_failed(breaker: Breaker, probe: datetime, now: datetime, settings: BreakerSettings, random: float) -> Breaker:
    """Opens for twice as long; a probe whose lease has gone to another says nothing."""
    return _opened(breaker.failures + 1, now, settings, random) if breaker.probe_until == probe else breaker


def probe_succeeded(breaker: Breaker, now: datetime) -> Breaker:
    """Closes it, unless it has opened again meanwhile."""
    return breaker if breaker.status(now) == "open" else Breaker()


def probe_abandoned(breaker: Breaker, probe: datetime) -> Breaker:
    """Nobody knows how it would have ended: the next one may look."""
    return replace(breaker, probe_until=None) if breaker.probe_until == probe else breaker


def _opened(failures: int, now: datetime, settings: BreakerSettings, random: float) -> Breaker:
    opening = failures - settings.failures + 1
    seconds = settings.opening.seconds(opening, random=lambda: random)
    return Breaker(failures=failures, open_until=now + timedelta(seconds=seconds))
