"""The pulse of one agent in one pool process: when it last showed that it is alive (DESIGN.md, R30)."""

from __future__ import annotations

from callboard.clock import Clock


class Pulse:
    """Counts signs of life. While a bounded call is under way its silence is no sign of death."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats = 0
        self._busy_until = 0.0

    @property
    def count(self) -> int:
        """Grows with each sign of life, and with each look at it while a bounded call is under way."""
        if self._clock.monotonic() < self._busy_until:
            self._beats += 1
        return self._beats

    def beat(self) -> None:
        self._beats += 1
        self._busy_until = 0.0

    def busy(self, seconds: float) -> None:
        """For so many seconds from now no sign of life is expected."""
        self._beats += 1
        self._busy_until = max(self._busy_until, self._clock.monotonic() + seconds)
