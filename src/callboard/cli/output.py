"""How commands show what they read: a table for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import orjson
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

TABLE, JSON = "table", "json"
WIDTH_IN_A_PIPE = 10_000
"""A line for each row, so that `grep` finds all of it."""

Command = TypeVar("Command", bound=Callable[..., Any])

_COLOURS = {
    "available": "green",
    "succeeded": "green",
    "sent": "green",
    "done": "green",
    "healthy": "green",
    "fired": "green",
    "running": "cyan",
    "queued": "cyan",
    "waiting": "yellow",
    "asked": "yellow",
    "paused": "yellow",
    "degraded": "yellow",
    "attempting": "yellow",
    "missed": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "timed_out": "red",
    "unavailable": "red",
    "unhealthy": "red",
    "cancelled": "magenta",
}


def output_option(command: Command) -> Command:
    """Adds `-o table|json` as the parameter `output`."""
    return click.option(
        "-o", "--output", type=click.Choice([TABLE, JSON]), default=TABLE, show_default=True, help="How to show it."
    )(command)


def console(*, stderr: bool = False) -> Console:
    """A terminal as wide as it is; a pipe wide enough that no id is cut."""
    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() else WIDTH_IN_A_PIPE
    return Console(file=file, width=width, highlight=False, emoji=False, markup=False)


def show(what: RenderableType) -> None:
    """On standard output; in a pipe without the spaces that fill a terminal's lines."""
    screen = console()
    if screen.is_terminal:
        screen.print(what)
        return
    with screen.capture() as captured:
        screen.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def print_json(value: Any) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
    """`columns` are key → heading; `empty` is said where there are no rows."""
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(key)) for key in columns))
    show(table)


def print_record(record: Mapping[str, Any]) -> None:
    """One thing, a line a key; nested values as JSON."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in record.items():
        if value not in (None, [], {}, ""):
            table.add_row(printable(key), cell(value))
    show(table)


def cell(value: Any) -> Text:
    """A value as a table shows it: printable, coloured where it is a status."""
    text = printable(shown(value))
    return Text(text, style=_COLOURS.get(text, ""))


def shown(value: Any) -> str:
    """A value in words; instants in local time to the second."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case dict() | list():
            return orjson.dumps(value).decode()
        case str():
            return _instant(value) or value
    return str(value)


def printable(text: str) -> str:
    """Without characters that would steer a terminal; line breaks and tabs stay."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "�" for sign in text)


def counted(number: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def duration(milliseconds: float | None) -> str:
    """`950 ms`, `1.2 s`, `3 min 5 s`; empty where it has not ended."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.3g} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _instant(text: str) -> str | None:
    if len(text) < 20 or text[4:5] != "-" or text[10:11] != "T" or not text.endswith("Z"):
        return None
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
