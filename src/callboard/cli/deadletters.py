"""`callboard deadletters`: events that nobody could handle."""

from __future__ import annotations

import click

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_record, print_table

COLUMNS = {
    "id": "LETTER",
    "queue": "QUEUE",
    "topic": "TOPIC",
    "status": "STATUS",
    "deliveries": "TRIES",
    "created_at": "SINCE",
    "reason": "REASON",
}


@click.group(cls=Noun)
def deadletters() -> None:
    """List, requeue and drop events nobody could handle."""


@deadletters.command("list")
@click.option(
    "--status",
    type=click.Choice(["kept", "requeued", "dropped", "all"]),
    default="kept",
    show_default=True,
    help="Only letters of this status.",
)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@output_option
def list_letters(status: str, limit: int, output: str) -> None:
    """Dead letters, newest first."""
    with open_api() as api:
        listing = api.get("deadletters", status=None if status == "all" else status, limit=limit)
    if output == JSON:
        print_json(listing)
    else:
        print_table(listing["dead_letters"], COLUMNS, empty="no dead letters")


@deadletters.command()
@click.argument("letter_id")
@output_option
def show(letter_id: str, output: str) -> None:
    """One letter with what was delivered."""
    with open_api() as api:
        letter = api.get("deadletters", letter_id)
    if output == JSON:
        print_json(letter)
    else:
        print_record(letter)


@deadletters.command()
@click.argument("letter_id")
def requeue(letter_id: str) -> None:
    """Publish the letter's event once more."""
    with open_api() as api:
        api.post("deadletters", letter_id, "requeue")
    click.echo(f"{letter_id}: requeued")


@deadletters.command()
@click.argument("letter_id")
def drop(letter_id: str) -> None:
    """Close a letter for good."""
    with open_api() as api:
        api.post("deadletters", letter_id, "drop")
    click.echo(f"{letter_id}: dropped")
