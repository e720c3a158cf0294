"""`callboard costs`: what agents have cost, and what may still be spent today."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.api_client import open_api
from callboard.cli.output import JSON, output_option, print_json, print_table
from callboard.llm.money import told_usd

BY = ("agent", "day", "channel", "user", "model")
BUDGETS = {
    "scope": "BUDGET",
    "name": "OF",
    "limit_usd": "LIMIT",
    "raised_usd": "RAISED",
    "spent_usd": "SPENT",
    "reserved_usd": "RESERVED",
    "remaining_usd": "LEFT TODAY",
}
_WHOSE = {"global": "the whole installation"}


@click.command()
@click.option("--by", type=click.Choice(BY), default="agent", show_default=True, help="What the sums are of.")
@click.option("--from", "from_day", metavar="DAY", help="First day (UTC), such as 2026-11-01; else 30 days.")
@click.option("--to", "to_day", metavar="DAY", help="Last day (UTC); else today.")
@output_option
def costs(by: str, from_day: str | None, to_day: str | None, output: str) -> None:
    """What agents have cost, and what is left of today's budgets.

    A cost with ~ contains calls whose end nobody saw, at what they cost at most.
    """
    with open_api() as api:
        report = api.get("costs", by=by, **{"from": from_day, "to": to_day})
    if output == JSON:
        print_json(report)
        return
    columns = {
        by: by.upper(),
        "cost": "USD",
        "input_tokens": "READ",
        "output_tokens": "WRITTEN",
        "model_calls": "CALLS",
    }
    empty = f"nothing was spent from {report['from']} to {report['to']}"
    print_table([{**line, "cost": _cost(line)} for line in report["costs"]], columns, empty=empty)
    if report["costs"]:
        click.echo(f"{report['total_usd']:.4f} USD from {report['from']} to {report['to']}")
    if report["budgets"]:
        click.echo()
        print_table([_budget(budget) for budget in report["budgets"]], BUDGETS, empty="")


def _cost(line: dict[str, Any]) -> str:
    return ("~" if line["estimated_usd"] else "") + f"{line['usd']:.4f}"


def _budget(budget: dict[str, Any]) -> dict[str, Any]:
    amounts = {
        name: "" if value is None else told_usd(value) for name, value in budget.items() if name.endswith("_usd")
    }
    return {**amounts, "scope": budget["scope"], "name": budget["name"] or _WHOSE.get(budget["scope"], "")}
