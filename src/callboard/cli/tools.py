"""`callboard tools`: what agents may use besides talking."""

from __future__ import annotations

import click

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_table, printable

COLUMNS = {"name": "NAME", "from": "FROM", "repeatable": "REPEATABLE", "what": "WHAT IT DOES"}
_WHAT_CHARS = 100


@click.group(cls=Noun)
def tools() -> None:
    """List the tools that agents may use."""


@tools.command("list")
@output_option
def list_tools(output: str) -> None:
    """Built-in tools and the project's own; then what is wrong with the project's files. -o json shows parameters."""
    with open_api() as api:
        listing = api.get("tools")
    if output == JSON:
        print_json(listing)
        return
    rows = [
        {
            "name": tool["name"],
            "from": f"{tool['file']}:{tool['line']}" if tool["file"] else "built in",
            "repeatable": {True: "yes", False: "no", None: ""}[tool["idempotent"]],
            "what": _first_line(tool["description"] or tool["needs"] or ""),
        }
        for tool in listing["tools"]
    ]
    print_table(rows, COLUMNS, empty="no tools")
    for problem in listing["problems"]:
        place = f"{problem['file']}:{problem['line']}:{problem['column']}"
        hint = f" ({problem['hint']})" if problem["hint"] else ""
        click.echo(printable(f"{place}: {problem['message']}{hint}"), err=True)


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _WHAT_CHARS else line[: _WHAT_CHARS - 1] + "…"
