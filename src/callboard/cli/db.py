"""`callboard db`: the schema of the database."""

from __future__ import annotations

import click

from callboard.bootstrap import schema
from callboard.cli.noun import Noun
from callboard.settings import load_settings
from callboard.state.sql.migrating import newest_revision


@click.group(cls=Noun)
def db() -> None:
    """Bring the database up to date, or check it."""


@db.command()
def upgrade() -> None:
    """Run the migrations that are missing; an up-to-date database is left alone.

    The database is that of DATABASE_URL, else the file in the data folder, which `callboard up` must not be using.
    """
    click.echo(f"{schema.upgrade(load_settings())}: at revision {newest_revision()}")


@db.command()
def check() -> None:
    """Say whether the database is what this release wants. Exit code 1 when it is not, 3 when there is none."""
    click.echo(f"{schema.check(load_settings())}: up to date, at revision {newest_revision()}")
