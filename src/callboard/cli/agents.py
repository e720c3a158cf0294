"""`callboard agents`: what is in force, and files before they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from callboard.cli.agent_files import Checked, check_files
from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_record, print_table, printable, shown
from callboard.config.definition import ExecutionMode
from callboard.config.template import agent_template
from callboard.errors import ConflictError
from callboard.settings import load_settings

MODES = [mode.value for mode in ExecutionMode]
STATUSES = ("available", "unavailable", "restarting", "failed", "paused")
COLUMNS = {
    "name": "AGENT",
    "execution_mode": "MODE",
    "agent_type": "TYPE",
    "status": "STATUS",
    "versions": "VERSION",
    "reason": "REASON",
}
_UNREMARKABLE = (("pinned", False), ("restarts", 0))
VERSIONS = {"version": "VERSION", "active": "ACTIVE", "created_at": "SINCE", "path": "FILE", "digest": "DIGEST"}


@click.group(cls=Noun)
def agents() -> None:
    """List, check, make, compare and pause agents."""


@agents.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only agents of this status.")
@click.option("--type", "agent_type", help="Only agents of this type.")
@click.option("--mode", type=click.Choice(MODES), help="Only agents of this mode.")
@output_option
def list_agents(status: str | None, agent_type: str | None, mode: str | None, output: str) -> None:
    """Every agent, and every file that was refused."""
    with open_api() as api:
        listing = api.get("agents", status=status, type=agent_type, mode=mode)
    if output == JSON:
        print_json(listing)
        return
    rows = [{**agent, "versions": versions_of(agent)} for agent in listing["agents"]]
    empty = "no agents: put a file into config/agents, or try `callboard agents new NAME`"
    print_table(rows, COLUMNS, empty="no agent is like that" if status or agent_type or mode else empty)
    for agent in listing["agents"]:
        for warning in agent["warnings"]:
            click.echo(f"warning: {printable(agent['name'])}: {printable(warning)}")
    for refused in listing["rejected"]:
        click.echo(f"rejected: {printable(_problem_line(refused))}")


@agents.command()
@click.argument("name")
@output_option
def show(name: str, output: str) -> None:
    """One agent with its definition in force."""
    with open_api() as api:
        record = api.get("agents", name)
    if output == JSON:
        print_json(record)
        return
    source = record.pop("source")
    record.pop("definition")
    told = {name: value for name, value in record.items() if (name, value) not in _UNREMARKABLE}
    models, sums = record.get("models") or [], record.get("sums")
    told |= {"models": "\n".join(map(_model, models)), "sums": _sums(sums) if sums else None}
    print_record({**told, "versions": versions_of(record)})
    click.echo()
    click.echo(printable(source))


@agents.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@output_option
def validate(paths: tuple[Path, ...], output: str) -> int:
    """Check agent files, or all in a folder; without PATHS those of the agents' folder. Needs no server.

    Exit code 1 when a file has a problem.
    """
    settings = load_settings()
    checked = check_files(paths or (settings.agents_folder,), settings.tools_folder)
    if output == JSON:
        print_json({"files": [each.to_record() for each in checked]})
    else:
        for each in checked:
            _print_checked(each)
    return 1 if any(each.problems for each in checked) else 0


@agents.command()
@click.argument("name")
@click.option("--mode", type=click.Choice(MODES), default="autonomous", show_default=True, help="How it works.")
@click.option("--member", default="other-agent", show_default=True, help="A collaborative agent's first member.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put it (default: agents in the data folder).")
def new(name: str, mode: str, member: str, folder: Path | None) -> None:
    """Write a new agent file, complete and working offline; never over one that exists."""
    target = folder if folder is not None else load_settings().data_folder / "agents"
    schema = Path(os.path.relpath("config/agent.schema.json", target)).as_posix()
    text = agent_template(name, ExecutionMode(mode), member=member, schema=schema)
    path = target / f"{name}.yaml"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConflictError(f"{path} exists already: choose another name, or edit that file") from error
    except OSError as error:
        raise ConflictError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}; a running Callboard has it within a second")


@agents.command()
@click.argument("name")
@output_option
def history(name: str, output: str) -> None:
    """Every accepted version, newest first."""
    with open_api() as api:
        listing = api.get("agents", name, "history")
    if output == JSON:
        print_json(listing)
    else:
        rows = [
            {**each, "version": f"v{each['version']}", "digest": each["digest"][:12]} for each in listing["versions"]
        ]
        print_table(rows, VERSIONS, empty="no versions")


@agents.command()
@click.argument("name")
@click.option("--from", "old", type=click.IntRange(1), help="Compare this version (default: the one before).")
@click.option("--to", "new_version", type=click.IntRange(1), help="With this one (default: the newest).")
@output_option
def diff(name: str, old: int | None, new_version: int | None, output: str) -> None:
    """What changed in an agent's file from one version to another."""
    with open_api() as api:
        found = api.get("agents", name, "diff", **{"from": old, "to": new_version})
    if output == JSON:
        print_json(found)
        return
    for line in found["diff"].splitlines():
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        click.secho(printable(line), fg=colour)
    if not found["diff"]:
        click.echo(f"v{found['from']} and v{found['to']} are the same")


@agents.command()
@click.argument("name")
@click.option("--to", "version", type=click.IntRange(1), help="This version (default: the one before).")
def rollback(name: str, version: int | None) -> None:
    """Put an older version in force until the file changes, or until `unpin`."""
    with open_api() as api:
        now = api.post("agents", name, "rollback", body={"version": version})
    click.echo(f"{name}: v{now['version']} active, pinned (the newest is v{now['latest']})")


@agents.command()
@click.argument("name")
def unpin(name: str) -> None:
    """End a rollback: the newest version is in force again."""
    with open_api() as api:
        now = api.post("agents", name, "unpin")
    click.echo(f"{name}: v{now['version']} active")


@agents.command()
@click.argument("name")
def pause(name: str) -> None:
    """Give the agent no new work until it is resumed."""
    with open_api() as api:
        api.post("agents", name, "pause")
    click.echo(f"{name}: paused")


@agents.command()
@click.argument("name")
def resume(name: str) -> None:
    """Take a pause back."""
    with open_api() as api:
        api.post("agents", name, "resume")
    click.echo(f"{name}: resumed")


def versions_of(agent: dict[str, Any]) -> str:
    """`v7 active, v8 rejected: standup.yaml:3:1: …`."""
    text = f"v{agent['version']} active"
    if agent["pinned"]:
        text += f" (pinned, newest v{agent['latest']})"
    refused = agent.get("rejected")
    if refused is not None:
        number = f"v{refused['version']}" if refused["version"] is not None else "edit"
        text += f", {number} rejected: {_problem_line(refused)}"
    return text


def _model(model: dict[str, Any]) -> str:
    """`openai/gpt-4o`, and until when it is left alone; whether its key is there, the agent's status says."""
    name = f"{model['provider']}/{model['model_id']}"
    if model["status"] == "available":
        return name
    until = f" until {shown(model['until'])}" if model.get("until") else ""
    return f"{name} {model['status'].replace('_', ' ')}{until}: {model.get('reason') or 'no reason given'}"


def _sums(sums: dict[str, Any]) -> str:
    runs = ", ".join(f"{count} {status}" for status, count in sums["runs"].items())
    used = sums["usage"]
    return f"runs: {runs or 'none'}; ${sums['cost_usd']:.4f}, {used['input_tokens']}+{used['output_tokens']} tokens"


def _problem_line(problem: dict[str, Any]) -> str:
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return f"{problem['file']}:{problem['line']}:{problem['column']}: {problem['message']}{hint}"


def _print_checked(checked: Checked) -> None:
    for problem in checked.problems:
        click.echo(printable(str(problem)))
    for warning in checked.warnings:
        click.echo(f"warning: {printable(str(warning))}")
    if not checked.problems:
        click.echo(f"{checked.path}: ok ({checked.name})")
