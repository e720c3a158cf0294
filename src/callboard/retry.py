"""When to try again: arithmetic only, no waiting, no randomness of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential waiting with jitter.

    The wait before retry n (from 1) is `first_seconds * factor**(n-1)`, at most `cap_seconds`, of which a random part
    of up to `jitter` (0 to 1) is taken away, so that many who failed together do not come back together.
    """

    first_seconds: float = 1.0
    factor: float = 2.0
    cap_seconds: float = 60.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if self.first_seconds < 0 or self.cap_seconds < 0 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(f"a backoff needs times of 0 or more, a factor of 1 or more and a jitter in 0..1: {self}")

    def seconds(self, retry: int, *, random: Callable[[], float], retry_after_seconds: float | None = None) -> float:
        """The wait before retry number `retry` (1 is the first); `random` gives numbers in [0, 1).

        `retry_after_seconds`, what the other side asked for, is never undercut, and may exceed the cap: who decides
        whether waiting that long still makes sense is the caller, who knows the deadline.
        """
        if retry < 1:
            raise ValueError(f"retries are counted from 1, not {retry}")
        wait = self._without_jitter(retry) * (1 - self.jitter * random())
        return wait if retry_after_seconds is None else max(retry_after_seconds, wait)

    def _without_jitter(self, retry: int) -> float:
        try:
            grown = self.first_seconds * self.factor ** (retry - 1)
        except OverflowError:
            return self.cap_seconds
        return min(self.cap_seconds, grown)
