"""`callboard logs TRACE_ID`: the log lines of one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callboard.cli.output import JSON, output_option, printable, shown
from callboard.errors import NotFoundError
from callboard.logs import read_log
from callboard.settings import load_settings

_SHOWN = ("timestamp", "level", "component", "message", "trace_id", "exception")


@click.command()
@click.argument("trace_id")
@click.option("--folder", type=click.Path(path_type=Path), help="The log folder (default: CALLBOARD_LOGS, else logs).")
@output_option
def logs(trace_id: str, folder: Path | None, output: str) -> None:
    """Show the log lines of TRACE_ID, oldest first, from the log folder on this machine. -o json: one object a line."""
    place = folder if folder is not None else load_settings().log_folder
    found = False
    for record in read_log(place, trace_id):
        found = True
        click.echo(shown(record) if output == JSON else _line(record))
    if not found:
        raise NotFoundError(f"no line in {place} has the trace id {trace_id}")


def _line(record: dict[str, Any]) -> str:
    more = " ".join(f"{name}={shown(value)}" for name, value in record.items() if name not in _SHOWN)
    head = f"{record.get('timestamp', '')}  {record.get('level', ''):<7}  {record.get('component', '')}"
    text = f"{head}: {record.get('message', '')}" + (f"  {more}" if more else "")
    if record.get("exception"):
        text += f"\n{record['exception']}"
    return printable(text)
