"""Keeps all workers together below what a provider allows in a minute; without limits it is never asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from callboard.clock import Clock
from callboard.llm import token_bucket
from callboard.llm.errors import LLMRateLimitError
from callboard.llm.guard_board import GuardBoard
from callboard.llm.guard_states import GuardState
from callboard.llm.token_bucket import LEASE_SECONDS, BucketLimit

CountTokens = Callable[[], int]
LONGEST_WAIT_SECONDS = 10.0
"""A call waits so long for its turn; one that would wait longer is refused with the time after which to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What a provider allows in any minute, over all workers; None is no limit."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclass(eq=False, slots=True)
class _Lease:
    """What this process has taken of a bucket and not spent yet; its lock is the queue of those who wait."""

    left: float = 0.0
    until: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock | None = None

    def queue(self) -> asyncio.Lock:
        self.turn = self.turn or asyncio.Lock()
        return self.turn


class RateLimiter:
    """First come, first served within a process; between processes whoever finds something in the bucket."""

    def __init__(self, board: GuardBoard, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._leases: dict[str, _Lease] = {}

    async def take(self, server: str, limits: RateLimits, tokens: CountTokens) -> float:
        """Waits for a request and its tokens; returns the tokens taken. LLMRateLimitError where that takes too long."""
        if limits.requests_per_minute is not None:
            await self._spend(f"{server}#requests", _requests(limits.requests_per_minute), 1.0)
        if limits.tokens_per_minute is None:
            return 0.0
        wanted = float(max(1, tokens()))
        await self._spend(f"{server}#tokens", _tokens(limits.tokens_per_minute), wanted)
        return wanted

    async def settle(self, server: str, limits: RateLimits, taken: float, used: float) -> None:
        """Gives back what the call did not use, or takes what it used beyond."""
        if limits.tokens_per_minute is None or taken <= 0 or used <= 0:
            return
        lease = self._lease(f"{server}#tokens")
        lease.left += taken - used
        lease.until = max(lease.until, self._clock.monotonic() + LEASE_SECONDS)

    async def _spend(self, name: str, limit: BucketLimit, wanted: float) -> None:
        lease = self._lease(name)
        give_up_at = self._clock.monotonic() + LONGEST_WAIT_SECONDS
        async with lease.queue():
            while True:
                now = self._clock.monotonic()
                if now >= lease.until and lease.left > 0:
                    lease.left = 0.0
                if lease.left >= wanted:
                    lease.left -= wanted
                    return
                missing = wanted - lease.left
                seconds = await self._lease_more(name, lease, limit, missing)
                if seconds is None:
                    continue
                if now + seconds > give_up_at:
                    raise LLMRateLimitError(
                        f"{name.replace('#', ': all ')} of this minute are taken", retry_after=max(seconds, 0.001)
                    )
                await self._clock.sleep(max(seconds, 0.001))

    async def _lease_more(self, name: str, lease: _Lease, limit: BucketLimit, wanted: float) -> float | None:
        """None once there is more, else how long to wait for it."""
        now = self._clock.now()

        def take(state: GuardState) -> tuple[GuardState, tuple[float, float]]:
            bucket, taken = token_bucket.lease(state.bucket, limit, wanted, now)
            if not taken:
                return state, (0.0, token_bucket.seconds_until(state.bucket, limit, wanted, now))
            return replace(state, bucket=bucket), (taken, 0.0)

        taken, seconds = await self._board.change(name, take)
        if not taken:
            return seconds
        lease.left += taken
        lease.until = self._clock.monotonic() + LEASE_SECONDS
        return None

    def _lease(self, name: str) -> _Lease:
        return self._leases.setdefault(name, _Lease())


def _requests(per_minute: float) -> BucketLimit:
    return BucketLimit(per_minute=per_minute, whole=True)


def _tokens(per_minute: float) -> BucketLimit:
    return BucketLimit(per_minute=per_minute, whole=False)
