"""The versions that one process has put into a cache: below them it reads nothing, whoever wrote it."""

from __future__ import annotations

from collections import OrderedDict

from callboard.clock import Clock

MAX_FLOORS = 50_000


class CacheFloors:
    """Remembers each version for `seconds`, which must be longer than a copy can live.

    When more keys than it can hold are written within that time, `blind` says so for as long: then nothing may be read.
    """

    def __init__(self, clock: Clock, *, seconds: float, limit: int = MAX_FLOORS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        self._floors: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._blind_until = float("-inf")

    @property
    def blind(self) -> bool:
        return self._clock.monotonic() < self._blind_until

    def raise_to(self, key: str, version: int) -> bool:
        """False for a version under the floor: it is out of date already."""
        now = self._clock.monotonic()
        self._forget(now)
        known = self._floors.get(key)
        if known is not None and version < known[0]:
            return False
        self._floors[key] = (version, now + self._seconds)
        self._floors.move_to_end(key)
        if len(self._floors) > self._limit:
            self._floors.clear()
            self._blind_until = now + self._seconds
        return True

    def allows(self, key: str, version: int) -> bool:
        known = self._floors.get(key)
        return not self.blind and (known is None or version >= known[0])

    def _forget(self, now: float) -> None:
        while self._floors:
            key, (_, until) = next(iter(self._floors.items()))
            if until > now:
                return
            del self._floors[key]
