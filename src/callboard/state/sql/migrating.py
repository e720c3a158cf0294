"""The schema of a database: bringing it up to date, and saying whether it is.

Alembic is loaded by what migrates: to see that nothing is to be done costs a process a tenth less of its start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from callboard.errors import UnavailableError
from callboard.state.models import metadata

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent / "migrations"
ONE_UPGRADE = (
    text("SET LOCAL lock_timeout = '15min'"),
    text("SELECT pg_advisory_xact_lock(7205759403792793)"),
    text("SET LOCAL lock_timeout = '5s'"),
)
"""Held until the commit: who comes second waits, and then finds the revision of the first. Ends with its process.

A table in use is waited for only a little: behind a migration that waits, all traffic on the table waits too.
"""


def upgrade(engine: Engine) -> None:
    """Runs the migrations that are missing, all or none; an up-to-date database is left alone.

    Safe to repeat, and safe beside another process that does the same: the second waits and finds nothing to do.
    Raises UnavailableError for a file that cannot be read or written, or a database that a newer release has brought
    further; what PostgreSQL itself refuses is raised as it is.
    """
    from alembic import command
    from alembic.util import CommandError

    config = _config()
    name = engine.url.database or "of DATABASE_URL"
    try:
        # A writer's transaction from the first look at the revision on: nobody can migrate between looking and doing.
        with engine.connect().execution_options(writer=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                for statement in ONE_UPGRADE:
                    connection.execute(statement).close()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        if engine.dialect.name != "sqlite":
            raise
        raise UnavailableError(
            f"the database {name} cannot be used: {error.orig}; check the disk's free space and the file's owner"
        ) from error
    except CommandError as error:
        raise UnavailableError(
            f"the database {name} does not belong to this release ({error}): use the release that wrote it, or "
            f"another data folder"
        ) from error


def current_revision(engine: Engine) -> str | None:
    """The revision of the database, None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def newest_revision() -> str | None:
    """The revision that this release wants: the files are named after theirs, which count upwards."""
    return max((path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*.py")), default=None)


def missing_revision(engine: Engine) -> str | None:
    """The revision that this release needs and the database does not have yet; None when it can be used.

    Revisions count upwards, and a later one keeps what an earlier release needs: so a database that a newer release has
    brought further can be used.
    """
    found, wanted = current_revision(engine), newest_revision()
    return wanted if wanted is not None and (found is None or found < wanted) else None


def differences(engine: Engine) -> list[str]:
    """How the database differs from the models; empty when the migrations are complete."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference) for difference in compare_metadata(context, metadata)]


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
