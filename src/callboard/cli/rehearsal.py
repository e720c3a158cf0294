"""What a dry run would have done and asked, in words."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.output import printable, shown


def print_rehearsal(told: dict[str, Any]) -> None:
    """Two lists, with the place of each in the plan; one line where there is nothing to tell."""
    for done in told["would_do"]:
        click.echo(f"would do:  {_place(done)}{printable(done['tool'])} {printable(shown(done['arguments']))}")
    for asked in told["would_ask"]:
        options = f" [{', '.join(asked['options'])}]" if asked["options"] else ""
        click.echo(f"would ask: {_place(asked)}{printable(asked['question'])}{printable(options)}")
    if not told["would_do"] and not told["would_ask"]:
        click.echo("would do:  nothing in the world")


def _place(line: dict[str, Any]) -> str:
    return f"{printable(line['step'])}: " if line["step"] else ""
