"""`callboard db`: the schema of the database."""

from __future__ import annotations

import click

from callboard.bootstrap import data_folder, migrate
from callboard.errors import ConflictError, NotFoundError
from callboard.settings import load_settings
from callboard.state.sql.migrating import current_revision, differences, newest_revision
from callboard.state.sql.sqlite import SqliteDatabase


@click.group()
def db() -> None:
    """Bring the database up to date, or check it."""


@db.command()
def upgrade() -> None:
    """Run the migrations that are missing; an up-to-date database is left alone. Not while `callboard up` runs."""
    settings = load_settings()
    migrate(settings)
    click.echo(f"{data_folder(settings).database}: at revision {newest_revision()}")


@db.command()
def check() -> None:
    """Say whether the database is what this release wants. Exit code 1 when it is not, 3 when there is none."""
    path = data_folder(load_settings()).database
    if not path.exists():
        raise NotFoundError(f"there is no database {path}: `callboard up` or `callboard db upgrade` makes one")
    engine = SqliteDatabase(path).engine
    found, wanted = current_revision(engine), newest_revision()
    if found != wanted:
        raise ConflictError(
            f"{path} is at revision {found or 'none'}, this release wants {wanted}: run `callboard db upgrade`"
        )
    different = differences(engine)
    if different:
        raise ConflictError(f"{path} differs from the tables of this release: {'; '.join(different[:5])}")
    click.echo(f"{path}: up to date, at revision {found}")
