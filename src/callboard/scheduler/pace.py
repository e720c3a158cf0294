"""How fast what was missed is made up for, so that it does not crowd out what comes on time."""

from __future__ import annotations

CATCH_UP_A_PASS = 200
"""After a pause, about so many runs are caught up in one pass."""


class Pace:
    """What one pass may still catch up. A schedule's share is never split, so the last one may go over."""

    def __init__(self, runs: int = CATCH_UP_A_PASS) -> None:
        self._left = runs

    def allows(self, late: int) -> bool:
        """Whether a schedule that has so many late runs goes now; one that has none always does."""
        if late == 0:
            return True
        if self._left <= 0:
            return False
        self._left -= late
        return True
