"""What all workers know of a provider together, and the port to where they keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from callboard.llm.circuit_breaker import Breaker
from callboard.llm.token_bucket import Bucket

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """Everything about one name; each name uses the part it is for. `reason` is the last failure, for people."""

    breaker: Breaker = Breaker()  # noqa: RUF009  # frozen
    cooldown_until: datetime | None = None
    bucket: Bucket | None = None
    reason: str | None = None
    updated_at: datetime | None = None


class GuardStates(Protocol):
    """One state a name, the same for all workers. Raises UnavailableError while the place cannot be reached."""

    async def load(self) -> Mapping[str, GuardState]:
        """Every state there is; a name without one is as new."""
        ...

    async def change(self, name: str, decide: Callable[[GuardState], tuple[GuardState, T]]) -> tuple[GuardState, T]:
        """Puts what `decide` makes of the present state in its place, with nobody between; returns both.

        `decide` is pure and may be called again. A state that stays equal is not written.
        """
        ...
