"""`callboard artifacts`: what runs have made beside text."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_table
from callboard.errors import InvalidInputError

COLUMNS = {"id": "ARTIFACT", "name": "NAME", "media_type": "TYPE", "size_bytes": "BYTES", "created_at": "MADE"}


@click.group(cls=Noun)
def artifacts() -> None:
    """List and fetch what runs have made."""


@artifacts.command("list")
@click.argument("run_id")
@output_option
def list_artifacts(run_id: str, output: str) -> None:
    """What a run and its steps have made, oldest first."""
    with open_api() as api:
        listing = api.get("runs", run_id, "artifacts")
    if output == JSON:
        print_json(listing)
    else:
        print_table(listing["artifacts"], COLUMNS, empty="no artifacts")


@artifacts.command()
@click.argument("artifact_id")
@click.option("-f", "--file", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
def get(artifact_id: str, file: Path | None) -> None:
    """Fetch one, by its id or as artifact:ID; without -f to standard output, which must not be a terminal."""
    if file is None and sys.stdout.isatty():
        raise InvalidInputError("an artifact may be no text: name a file with -f, or redirect the output")
    with open_api() as api:
        body = api.get_bytes("artifacts", artifact_id.removeprefix("artifact:"))
    if file is None:
        click.echo(body, nl=False)
        return
    try:
        file.write_bytes(body)
    except OSError as error:
        raise InvalidInputError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"{file}: {len(body)} bytes")
