"""`callboard db`: the schema of the database."""

from __future__ import annotations

from pathlib import Path

import click

from callboard.errors import ConflictError, InvalidInputError, NotFoundError
from callboard.settings import Settings, load_settings
from callboard.state.sql.migrating import current_revision, differences, newest_revision, upgrade
from callboard.state.sql.sqlite import SqliteDatabase

_SQLITE = "sqlite:///"


@click.group()
def db() -> None:
    """Bring the database up to date, or check it."""


@db.command("upgrade")
def upgrade_command() -> None:
    """Run the migrations that are missing; an up-to-date database is left alone."""
    path = database_path(load_settings())
    path.parent.mkdir(parents=True, exist_ok=True)
    upgrade(SqliteDatabase(path).engine)
    click.echo(f"{path}: at revision {newest_revision()}")


@db.command()
def check() -> None:
    """Say whether the database is what this release wants. Exit code 1 when it is not, 3 when there is none."""
    path = database_path(load_settings())
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


def database_path(settings: Settings) -> Path:
    """The file of the embedded form's database."""
    if settings.database_url is None:
        return settings.data_folder / "callboard.db"
    url = settings.database_url.get_secret_value()
    if not url.startswith(_SQLITE):
        scheme = url.partition(":")[0]
        raise InvalidInputError(
            f"DATABASE_URL begins with {scheme!r}: this release works on sqlite:///PATH", field="DATABASE_URL"
        )
    return Path(url.removeprefix(_SQLITE))
