"""What agents have cost over HTTP, and what may still be spent today."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from callboard.config.models_file import BudgetSettings
from callboard.errors import InvalidInputError
from callboard.integrations.http_api.context import Context, InContext
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply
from callboard.state.budgets import Account, CostLine, Limit, Scope, Standing, day_of

DAYS = 30
By = Literal["agent", "day", "channel", "user", "model"]
_SCOPES = {
    "agent": Scope.AGENT,
    "day": Scope.GLOBAL,
    "channel": Scope.CHANNEL,
    "user": Scope.USER,
    "model": Scope.MODEL,
}
Day = Annotated[str | None, Query(max_length=80, description="A day of UTC, such as 2026-11-21.")]


def cost_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/costs", tags=["costs"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None))(list_costs)
    return router


async def list_costs(
    context: InContext,
    by: Annotated[By, Query(description="What the sums are of.")] = "agent",
    from_day: Annotated[Day, Query(alias="from")] = None,
    to_day: Annotated[Day, Query(alias="to")] = None,
) -> JsonReply:
    """Tokens and US dollars from one day to another, both included, and what is left of today's budgets.

    Without days it is the last 30. A scripted model is counted only if it was given a price.
    """
    context.may("cost.read")
    last = _day(to_day, "to") or date.fromisoformat(day_of(context.services.clock.now()))
    first = _day(from_day, "from") or last - timedelta(days=DAYS - 1)
    if first > last:
        raise InvalidInputError(f"from {first} is after to {last}", field="from")
    budgets = context.services.budgets
    lines = await budgets.costs(context.tenant, _SCOPES[by], first.isoformat(), last.isoformat())
    standings = await budgets.standings(context.tenant, await _limits(context))
    return JsonReply(
        {
            "by": by,
            "from": first.isoformat(),
            "to": last.isoformat(),
            "costs": [_line(by, line) for line in lines],
            "total_usd": sum(line.usd for line in lines),
            "budgets": [_standing(standing) for standing in standings],
        }
    )


async def _limits(context: Context) -> list[Limit]:
    """Of the day: the agents' own, and those of the whole installation."""
    day = day_of(context.services.clock.now())
    own = [(entry.name, entry.definition.limits.daily_cost_usd) for entry in context.services.versions.current()]
    agents = [
        Limit(account=Account(scope=Scope.AGENT, name=name, day=day), limit_usd=usd)
        for name, usd in own
        if usd is not None
    ]
    return [*agents, *_of_file((await context.services.models()).budgets, day)]


def _of_file(budgets: BudgetSettings, day: str) -> Iterator[Limit]:
    if budgets.daily_usd is not None:
        yield Limit(account=Account(scope=Scope.GLOBAL, name="", day=day), limit_usd=budgets.daily_usd)
    for scope, limits in ((Scope.CHANNEL, budgets.channels), (Scope.USER, budgets.users)):
        for name, usd in limits.items():
            yield Limit(account=Account(scope=scope, name=name, day=day), limit_usd=usd)


def _line(by: str, line: CostLine) -> dict[str, Any]:
    return {
        by: line.name,
        "usd": line.usd,
        "estimated_usd": line.estimated_usd,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "model_calls": line.model_calls,
    }


def _standing(standing: Standing) -> dict[str, Any]:
    limit = standing.limit
    # What a channel has spent is kept by its id: of one that is limited by its name only Slack knows the id.
    known = not limit.account.name.startswith("#")
    return {
        "scope": limit.account.scope.value,
        "name": limit.account.name,
        "limit_usd": limit.limit_usd,
        "raised_usd": standing.raised_usd if known else None,
        "spent_usd": standing.spent_usd if known else None,
        "reserved_usd": standing.others_usd if known else None,
        "remaining_usd": max(0.0, standing.room_usd - standing.others_usd) if known else None,
    }


def _day(text: str | None, name: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{text} is no day: write it as 2026-11-21", field=name) from None
