"""Budgets: what may be spent, what was spent and what is reserved; the arithmetic is pure (DESIGN.md, R20).

Money is kept in accounts. A run's account has no day; those of an agent, a Slack channel, a user and of the whole
installation begin anew with each day of UTC. A model call that can cost something is reserved at its worst on every
account that has a limit, and settled at what it really cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

RAISE_USD = 1.0
"""By so much the answer `RAISE` moves a limit: for the day, or for the run."""
PAYERS = ("user", "api")
"""Kinds of actors that have an account of their own: people, and whoever calls the API."""
RAISE = "+ $1"
STOP = "stop"
PLAYED_MODELS = frozenset({"echo", "script"})
"""The scripted models: what they pretend to read and write is not counted, unless it was given a price."""
TOLERANCE_USD = 1e-9
"""Sums of binary fractions are not exact; a billionth of a dollar is nobody's money."""
BUSY_SECONDS = 2.0
"""After so long it is worth asking again: a model call has ended by then, more often than not."""


class Scope(StrEnum):
    """Whose money it is. A `model` has no limit, it is only counted."""

    RUN = "run"
    AGENT = "agent"
    CHANNEL = "channel"
    USER = "user"
    GLOBAL = "global"
    MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Account:
    """`name` is a run id, an agent's name, a Slack channel's or user's id, empty for the whole installation; `day` is
    a date of UTC as ISO 8601 writes it, empty for a run."""

    scope: Scope
    name: str
    day: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What may be spent on an account, before anybody raised it."""

    account: Account
    limit_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a run comes from, or the plan that it is a step of: the agent that was asked, the Slack channel's id and
    name, and the person."""

    agent: str
    channel: str | None = None
    channel_name: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account with a limit as it is at one moment.

    `own_usd` is reserved by the run that asks, `others_usd` by all other runs.
    """

    limit: Limit
    spent_usd: float = 0.0
    raised_usd: float = 0.0
    own_usd: float = 0.0
    others_usd: float = 0.0

    @property
    def room_usd(self) -> float:
        """What is left once the run's own reservations count as spent, and nobody else's."""
        return self.limit.limit_usd + self.raised_usd - self.spent_usd - self.own_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The call may be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """The call could pass the limit of an account, whatever the calls under way cost: a person has to say.

    `limit_usd` is the limit as it stands, `raises` how often people have raised it.
    """

    account: Account
    limit_usd: float
    spent_usd: float
    needed_usd: float
    raises: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Only the reservations of other runs are in the way: ask again after so many seconds."""

    seconds: float = BUSY_SECONDS


Reservation = Reserved | OverBudget | Busy


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What was used by one agent, channel, user or model, or on one day; `estimated_usd` of `usd` is what calls have
    cost at most whose end nobody saw."""

    name: str
    usd: float
    estimated_usd: float
    input_tokens: int
    output_tokens: int
    model_calls: int


def decide(standings: Sequence[Standing], worst_usd: float) -> Reservation:
    """Whether a call that costs `worst_usd` at most may be made; the first account without room is the reason."""
    for standing in standings:
        if worst_usd > standing.room_usd + TOLERANCE_USD:
            return OverBudget(
                account=standing.limit.account,
                limit_usd=standing.limit.limit_usd + standing.raised_usd,
                spent_usd=standing.spent_usd + standing.own_usd,
                needed_usd=worst_usd,
                raises=round(standing.raised_usd / RAISE_USD),
            )
    if any(worst_usd > standing.room_usd - standing.others_usd + TOLERANCE_USD for standing in standings):
        return Busy()
    return Reserved()


def strictest(limits: Sequence[Limit]) -> list[Limit]:
    """One limit an account, in the order of accounts, which is the order in which they are locked (DESIGN.md, R8)."""
    lowest: dict[Account, Limit] = {}
    for limit in limits:
        known = lowest.get(limit.account)
        if known is None or limit.limit_usd < known.limit_usd:
            lowest[limit.account] = limit
    return [lowest[account] for account in sorted(lowest)]


def day_of(moment: datetime) -> str:
    """The day on whose accounts a moment lies."""
    return moment.astimezone(UTC).date().isoformat()
