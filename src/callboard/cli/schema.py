"""`callboard schema agent`: the JSON Schema of an agent file."""

from __future__ import annotations

import click

from callboard.config.json_schema import agent_schema_text


@click.command()
@click.argument("kind", type=click.Choice(["agent"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of a kind of file, as editors read it."""
    click.echo(agent_schema_text(), nl=False)
