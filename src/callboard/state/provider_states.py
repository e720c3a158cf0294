"""What the workers know together of a model provider: one record a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderState:
    """`open_until` is None while the breaker is closed; `allowance` is of a bucket at `refilled_at`.

    `updated_at` is None for a name that nobody has written yet.
    """

    name: str
    failures: int = 0
    open_until: datetime | None = None
    probe_until: datetime | None = None
    cooldown_until: datetime | None = None
    allowance: float | None = None
    refilled_at: datetime | None = None
    reason: str | None = None
    updated_at: datetime | None = None

    @property
    def has_breaker(self) -> bool:
        """Whether the name is a provider at an address, and not one of its models or buckets."""
        return "/" not in self.name and "#" not in self.name


Decide = Callable[[ProviderState], tuple[ProviderState, T]]
"""Pure: the state that takes the place of the present one, and what the caller wants to know."""
