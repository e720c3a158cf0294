"""The token bucket: how many requests or tokens a minute may still go to a provider. Pure.

The bucket is shared. A process takes a lease of some at a time and spends it within LEASE_SECONDS, so in any minute
no more is spent than was taken in that minute and the lease before it. The rate is set so that this sum stays within
what the provider allows: a full bucket, and what flows in meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

WINDOW_SECONDS = 60.0
LEASE_SECONDS = 5.0
"""What a process has not spent of a lease after so long is forfeited."""
_BURST = 0.1
_BELOW = 0.999
_LEASES_A_BUCKET = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLimit:
    """`per_minute` is what the provider allows in any minute. `whole`: one thing at a time, as requests are."""

    per_minute: float
    whole: bool

    @property
    def capacity(self) -> float:
        """What may go at once after a rest."""
        return max(1.0, self.per_minute * _BURST)

    @property
    def per_second(self) -> float:
        # Whole things: a fraction that flowed in is none yet, so the bucket may reach the next whole one at the very
        # end of the minute.
        room = self.per_minute - self.capacity + (1.0 if self.whole else 0.0)
        return max(room, 1e-9) * _BELOW / (WINDOW_SECONDS + LEASE_SECONDS)

    @property
    def batch(self) -> float:
        """What a process takes at least, so that it does not ask for each call."""
        share = self.capacity / _LEASES_A_BUCKET
        return max(1.0, float(int(share))) if self.whole else share


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """`allowance` at that time; below zero after a call that was larger than thought."""

    allowance: float
    refilled_at: datetime


def refilled(bucket: Bucket | None, limit: BucketLimit, now: datetime) -> Bucket:
    """With what has flowed in since; one that nobody has used yet is full. A clock that went back gives nothing."""
    if bucket is None:
        return Bucket(allowance=limit.capacity, refilled_at=now)
    seconds = max(0.0, (now - bucket.refilled_at).total_seconds())
    allowance = min(limit.capacity, bucket.allowance + seconds * limit.per_second)
    return Bucket(allowance=allowance, refilled_at=now)


def lease(bucket: Bucket | None, limit: BucketLimit, wanted: float, now: datetime) -> tuple[Bucket, float]:
    """The bucket afterwards and what was taken: at least `wanted` and a batch where there is one, or nothing.

    What is larger than the bucket is given once the bucket is full, and leaves a debt that all then wait for.
    """
    full = refilled(bucket, limit, now)
    if full.allowance < min(wanted, limit.capacity):
        return full, 0.0
    taken = max(wanted, min(limit.batch, full.allowance))
    if limit.whole:
        taken = float(int(taken))
    return replace(full, allowance=full.allowance - taken), taken


def seconds_until(bucket: Bucket | None, limit: BucketLimit, wanted: float, now: datetime) -> float:
    """How long to wait for so much, if nobody else takes any."""
    missing = min(wanted, limit.capacity) - refilled(bucket, limit, now).allowance
    return max(0.0, missing / limit.per_second)
