"""Run by Alembic: migrations go through the connection that Callboard hands over, or a SQLite file named by hand.

`alembic -x path=FILE …` works on a file; `callboard db upgrade` is what users call.
"""

from __future__ import annotations

from pathlib import Path

from alembic import context
from sqlalchemy import Connection

from callboard.state.models import metadata
from callboard.state.sql.sqlite import SqliteDatabase


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    handed = context.config.attributes.get("connection")
    if handed is not None:
        migrate(handed)
        return
    path = Path(context.get_x_argument(as_dictionary=True).get("path", "data/callboard.db"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with SqliteDatabase(path).engine.connect() as connection:
        migrate(connection)


main()
