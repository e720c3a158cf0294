"""One history of the schema: up from nothing, again, twice at once, and down (D6)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, inspect, text

from callboard.state.models import metadata
from callboard.state.sql import migrating
from tests.support.databases import ENGINES
from tests.support.processes import child

MIGRATE = """
import pathlib, sys
from callboard.state.sql import migrating
from tests.support.databases import ENGINES
name, folder, go = sys.argv[1:]
engine = ENGINES[name](pathlib.Path(folder))
print("ready", flush=True)
while not pathlib.Path(go).exists():
    pass
migrating.upgrade(engine)
"""


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    opened: Engine = ENGINES[request.param](tmp_path)
    return opened


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def downgrade(engine: Engine, revision: str) -> None:
    config = migrating._config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()


def test_an_empty_database_gets_every_table_of_the_models(engine: Engine) -> None:
    assert migrating.current_revision(engine) is None
    migrating.upgrade(engine)
    assert migrating.current_revision(engine) == migrating.newest_revision()
    assert tables(engine) == set(metadata.tables)
    assert migrating.differences(engine) == []


def test_differences_names_what_is_missing(engine: Engine) -> None:
    migrating.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE dead_letters"))
        connection.execute(text("ALTER TABLE runs ADD COLUMN odd INTEGER"))
    found = " ".join(migrating.differences(engine))
    assert "dead_letters" in found
    assert "odd" in found


def test_the_indexes_that_rules_rest_on_are_there(engine: Engine) -> None:
    migrating.upgrade(engine)
    indexes = {index["name"]: index for index in inspect(engine).get_indexes("runs")}
    assert indexes["uq_runs_turn"]["unique"]
    with engine.connect() as connection:
        sql = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'uq_runs_turn'")).scalar_one()
    assert "has_turn" in sql.split("WHERE")[1]


def test_D6_migrating_twice_changes_nothing(engine: Engine) -> None:
    migrating.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO locks (name) VALUES ('kept')"))
    migrating.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM locks WHERE name = 'kept'")).scalar_one() == "kept"
    assert migrating.differences(engine) == []


@pytest.mark.slow
def test_D6_several_at_once_are_one(tmp_path: Path) -> None:
    """Processes that start together; a file appears when all may begin."""
    for name, open_engine in ENGINES.items():
        folder, go = tmp_path / name, tmp_path / f"{name}.go"
        folder.mkdir()
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(child("-c", MIGRATE, name, str(folder), str(go))) for _ in range(3)]
            for process in children:
                process.wait_for("ready")
            go.touch()
            codes = [process.exit_code() for process in children]
        assert codes == [0, 0, 0], "\n".join(process.output for process in children)
        assert migrating.differences(open_engine(folder)) == []


def test_D6_down_and_up_again(engine: Engine) -> None:
    migrating.upgrade(engine)
    downgrade(engine, "base")
    assert tables(engine) == set()
    assert migrating.current_revision(engine) is None
    migrating.upgrade(engine)
    assert migrating.differences(engine) == []


def test_D6_a_migration_that_dies_half_way_leaves_nothing(engine: Engine) -> None:
    """Its transaction is gone with its process; the next one finds the database as it was."""
    with engine.connect() as connection, connection.begin() as begun:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        begun.rollback()
    assert tables(engine) == set()
    migrating.upgrade(engine)
    assert migrating.differences(engine) == []
