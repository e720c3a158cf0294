"""`callboard schedules`: what runs by the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_table, shown

COLUMNS = {
    "id": "SCHEDULE",
    "when": "WHEN",
    "timezone": "ZONE",
    "paused": "PAUSED",
    "next": "NEXT",
    "last": "LAST",
}
HISTORY = {
    "schedule_id": "SCHEDULE",
    "nominal_time": "TIME",
    "status": "STATUS",
    "reason": "REASON",
    "task_id": "TASK",
}
schedule_option = click.option("--schedule", help="One schedule of the agent, by its id.")


@click.group(cls=Noun)
def schedules() -> None:
    """List, preview, run and pause schedules."""


@schedules.command("list")
@click.argument("agent", required=False)
@output_option
def list_schedules(agent: str | None, output: str) -> None:
    """Every schedule, or those of AGENT."""
    with open_api() as api:
        listing = api.get("schedules", agent=agent)
    if output == JSON:
        print_json(listing)
    else:
        print_table([_row(each) for each in listing["schedules"]], COLUMNS, empty="no schedules")


@schedules.command()
@click.argument("agent")
@schedule_option
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many times.")
@click.option("--start", type=click.DateTime(), help="Show the times after this moment in UTC (default: now).")
@output_option
def preview(agent: str, schedule: str | None, count: int, start: datetime | None, output: str) -> None:
    """The coming times of AGENT's schedules, with what changes of the clocks do to them."""
    after = None if start is None else start.replace(tzinfo=UTC).isoformat()
    with open_api() as api:
        found = api.get("schedules", agent, "preview", schedule=schedule, count=count, start=after)
    if output == JSON:
        print_json(found)
        return
    for each in found["previews"]:
        click.echo(each["schedule_id"])
        print_table(each["times"], {"local": "LOCAL", "utc": "HERE", "note": "NOTE"}, empty="never")


@schedules.command()
@click.argument("agent")
@schedule_option
@output_option
def run(agent: str, schedule: str | None, output: str) -> None:
    """Fire a schedule of AGENT now; its own times stay as they are."""
    with open_api() as api:
        fired = api.post("schedules", agent, "run", body={"schedule": schedule})
    if output == JSON:
        print_json(fired)
    else:
        click.echo(f"{fired['schedule_id']}: {fired['status']}, task {fired['task_id']}, trace {fired['trace_id']}")


@schedules.command()
@click.argument("agent")
@schedule_option
def pause(agent: str, schedule: str | None) -> None:
    """Skip what comes due of AGENT's schedules, or of one, until it is resumed."""
    with open_api() as api:
        done = api.post("schedules", agent, "pause", body={"schedule": schedule})
    click.echo(f"paused: {', '.join(done['schedules'])}")


@schedules.command()
@click.argument("agent")
@schedule_option
def resume(agent: str, schedule: str | None) -> None:
    """Fire again from the next time on."""
    with open_api() as api:
        done = api.post("schedules", agent, "resume", body={"schedule": schedule})
    click.echo(f"resumed: {', '.join(done['schedules'])}")


@schedules.command()
@click.argument("agent", required=False)
@schedule_option
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@output_option
def history(agent: str | None, schedule: str | None, limit: int, output: str) -> None:
    """What became of every time: fired, caught up, skipped, missed."""
    with open_api() as api:
        listing = api.get("schedules", "history", agent=agent, schedule=schedule, limit=limit)
    if output == JSON:
        print_json(listing)
    else:
        print_table(listing["occurrences"], HISTORY, empty="nothing yet")


def _row(schedule: dict[str, Any]) -> dict[str, Any]:
    last = schedule["last_occurrence"]
    return {
        **schedule,
        "when": schedule["cron"] or f"every {schedule['interval_seconds']} s",
        "next": schedule["next_times"][0] if schedule["next_times"] else None,
        "last": f"{last['status']} {shown(last['nominal_time'])}" if last else None,
    }
