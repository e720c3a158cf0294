"""`callboard runs`: what agents have done and are doing."""

from __future__ import annotations

import json
from typing import Any

import click

from callboard.cli.api_client import open_api
from callboard.cli.comparison import print_comparison
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_table
from callboard.cli.run import wait_for_end
from callboard.cli.run_view import print_run
from callboard.cli.waiting import why_it_waits

STATUSES = ("queued", "running", "waiting", "succeeded", "failed", "cancelled", "timed_out")
COLUMNS = {
    "run_id": "RUN",
    "agent": "AGENT",
    "status": "STATUS",
    "attempt": "ATTEMPT",
    "created_at": "ASKED",
    "finished_at": "ENDED",
    "trace_id": "TRACE",
}


@click.group(cls=Noun)
def runs() -> None:
    """List, show, cancel, retry, rerun, replay and compare runs."""


@runs.command("list")
@click.option("--agent", help="Only runs of this agent.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs of this status.")
@click.option("--trace", "trace_id", help="Only runs under this trace id.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", help="Where to go on: the next_cursor of the page before.")
@output_option
def list_runs(
    agent: str | None, status: str | None, trace_id: str | None, limit: int, cursor: str | None, output: str
) -> None:
    """Runs, newest first."""
    with open_api() as api:
        page = api.get("runs", agent=agent, status=status, trace_id=trace_id, limit=limit, cursor=cursor)
    if output == JSON:
        print_json(page)
        return
    print_table(page["runs"], COLUMNS, empty="no runs")
    if page["next_cursor"]:
        click.echo(f"more with --cursor {page['next_cursor']}", err=True)


@runs.command()
@click.argument("run_id")
@output_option
def show(run_id: str, output: str) -> None:
    """Everything about one run."""
    with open_api() as api:
        record = api.get("runs", run_id)
        why = None if output == JSON else why_it_waits(api, record)
    if output == JSON:
        print_json(record)
    else:
        print_run(record, why=why)


@runs.command()
@click.argument("run_id")
def cancel(run_id: str) -> None:
    """Stop a run: it can only end as cancelled then."""
    with open_api() as api:
        told = api.post("runs", run_id, "cancel")
    click.echo(f"run {run_id}: cancel requested, now {told['status']}")


@runs.command()
@click.argument("run_id")
@output_option
def retry(run_id: str, output: str) -> None:
    """Do the same work once more, as a new run."""
    with open_api() as api:
        accepted = api.post("runs", run_id, "retry")
    if output == JSON:
        print_json(accepted)
    else:
        click.echo(f"task  {accepted['task_id']}\ntrace {accepted['trace_id']}")


@runs.command(epilog='Example: callboard runs rerun RUN --from-step write --input "shorter, please"')
@click.argument("run_id")
@click.option("--from-step", required=True, metavar="STEP", help="The step of the plan to begin with.")
@click.option("--input", "given", metavar="JSON", help="Its input in place of the plan's: JSON, or a plain text.")
@output_option
def rerun(run_id: str, from_step: str, given: str | None, output: str) -> None:
    """Do a plan once more from one of its steps, as a new run that takes over what the others gave."""
    body: dict[str, Any] = {"from_step": from_step}
    if given is not None:
        body["input"] = _json_or_text(given)
    with open_api() as api:
        accepted = api.post("runs", run_id, "rerun", body=body)
    if output == JSON:
        print_json(accepted)
    else:
        click.echo(f"task  {accepted['task_id']}\ntrace {accepted['trace_id']}")


@runs.command(epilog="Example: callboard runs replay RUN --model openai/gpt-4o")
@click.argument("run_id")
@click.option("--agent-version", type=click.IntRange(1), help="By this version of the agent instead of the one then.")
@click.option("--model", metavar="PROVIDER/MODEL", help="By this model instead of the one it had; no fallbacks.")
@click.option("--from-step", metavar="STEP", help="Of a plan: begin with this step, take over what came before.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end and compare.")
@output_option
def replay(
    run_id: str, agent_version: int | None, model: str | None, from_step: str | None, wait: bool, output: str
) -> int:
    """Do a run once more without effects, by the results that were recorded, and compare what comes out.

    The exit code is 0 when status and output are those of the original, else 1.
    """
    body = {"agent_version": agent_version, "model": model, "from_step": from_step}
    with open_api() as api:
        accepted = api.post("runs", run_id, "replay", body=body)
        if not wait:
            if output == JSON:
                print_json(accepted)
            else:
                click.echo(f"task  {accepted['task_id']}\ntrace {accepted['trace_id']}")
            return 0
        wait_for_end(api, accepted["task_id"], follow=False)
        told = api.get("runs", accepted["task_id"], "comparison")
    return _print_comparison(told, output)


@runs.command()
@click.argument("run_id")
@output_option
def compare(run_id: str, output: str) -> int:
    """Show what a replay came to beside what its original came to; RUN_ID is the replay."""
    with open_api() as api:
        told = api.get("runs", run_id, "comparison")
    return _print_comparison(told, output)


def _print_comparison(told: dict[str, Any], output: str) -> int:
    if output == JSON:
        print_json(told)
    else:
        print_comparison(told)
    return 0 if told["equal"] else 1


def _json_or_text(given: str) -> Any:
    try:
        value = json.loads(given)
    except ValueError:
        return given
    return value if isinstance(value, str | dict) else given
