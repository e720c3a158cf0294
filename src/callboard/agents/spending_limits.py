"""Which limits a run's model calls stay within: pure."""

from __future__ import annotations

from datetime import datetime

from callboard.config.definition import Limits
from callboard.config.models_file import BudgetSettings
from callboard.state.budgets import Account, Limit, Origin, Scope, day_of
from callboard.state.runs import Run


def limits_of(
    run: Run, own: Limits, origin: Origin, root: Limits | None, budgets: BudgetSettings, now: datetime
) -> list[Limit]:
    """`own` are the limits of the run's agent, `root` those of the agent whose plan it is a step of, if it is one.

    A step stays within what its own agent may cost and within what the whole plan may cost; the rest is shared with
    everybody's runs of the day.
    """
    day = day_of(now)
    return [
        Limit(account=Account(scope=scope, name=name, day="" if scope is Scope.RUN else day), limit_usd=usd)
        for scope, name, usd in (
            (Scope.RUN, run.run_id, own.max_cost_usd),
            (Scope.RUN, run.root, None if root is None else root.max_cost_usd),
            (Scope.AGENT, run.agent, own.daily_cost_usd),
            (Scope.CHANNEL, origin.channel, _of_channel(origin, budgets)),
            (Scope.USER, origin.user, None if origin.user is None else budgets.users.get(origin.user)),
            (Scope.GLOBAL, "", budgets.daily_usd),
        )
        if name is not None and usd is not None
    ]


def needs_origin(run: Run, budgets: BudgetSettings) -> bool:
    """Whether the limits depend on more than the run says itself."""
    return run.root != run.run_id or bool(budgets.channels)


def _of_channel(origin: Origin, budgets: BudgetSettings) -> float | None:
    """By its id, else by its name."""
    by_id = None if origin.channel is None else budgets.channels.get(origin.channel)
    by_name = None if origin.channel_name is None else budgets.channels.get(f"#{origin.channel_name}")
    return by_id if by_id is not None else by_name
