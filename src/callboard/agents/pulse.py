"""The pulse of one agent in one pool process: when it last showed that it is alive (DESIGN.md, R30)."""

from __future__ import annotations

from callboard.clock import Clock


class Pulse:
    """Counts signs of life of all its runs. While a bounded call of one is under way, silence is no sign of death."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats = 0
        self._busy_until: dict[str, float] = {}

    @property
    def count(self) -> int:
        """Grows with each sign of life, and with each look at it while a bounded call is under way."""
        if any(self._clock.monotonic() < until for until in self._busy_until.values()):
            self._beats += 1
        return self._beats

    def beat(self, run_id: str) -> None:
        """The run is alive now; ends what `busy` announced for it, and for no other."""
        self._beats += 1
        self._busy_until.pop(run_id, None)

    def busy(self, run_id: str, seconds: float) -> None:
        """For so many seconds from now no sign of life of the run is expected."""
        self._beats += 1
        self._busy_until[run_id] = self._clock.monotonic() + seconds
