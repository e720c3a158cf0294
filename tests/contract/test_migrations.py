"""One history of the schema: up from nothing, again, twice at once, killed half-way, and down (D6)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn

from callboard.state.models import metadata
from callboard.state.sql import migrating
from tests.support.databases import ENGINES, WithEngine
from tests.support.processes import child

MIGRATE = """
import asyncio, pathlib, sys
from callboard.state.sql import migrating
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.sqlite import SqliteDatabase
url, go = sys.argv[1:]
print("ready", flush=True)
while not pathlib.Path(go).exists():
    pass
if url.startswith("sqlite"):
    migrating.upgrade(SqliteDatabase(pathlib.Path(url.removeprefix("sqlite:///"))).engine)
else:
    asyncio.run(PostgresDatabase(url).migrate())
"""


DIE = """
import asyncio, pathlib, sys, time
from alembic import command
from alembic.script import ScriptDirectory
from callboard.state.sql import migrating
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.sqlite import SqliteDatabase
def half(config, revision):
    upgrade(config, "0001")
    print("half-way", flush=True)
    time.sleep(60)
upgrade, command.upgrade = command.upgrade, half
url = sys.argv[1]
if url.startswith("sqlite"):
    migrating.upgrade(SqliteDatabase(pathlib.Path(url.removeprefix("sqlite:///"))).engine)
else:
    asyncio.run(PostgresDatabase(url).migrate())
"""


@dataclass(frozen=True)
class Place:
    """A database without a table."""

    url: str
    run: WithEngine

    async def upgrade(self) -> None:
        await self.run(migrating.upgrade)

    async def execute(self, *statements: str) -> None:
        def work(engine: Engine) -> None:
            with engine.begin() as connection:
                for statement in statements:
                    connection.execute(text(statement))

        await self.run(work)

    async def value(self, statement: str) -> object:
        def work(engine: Engine) -> object:
            with engine.connect() as connection:
                return connection.execute(text(statement)).scalar()

        return await self.run(work)

    async def differences(self) -> list[str]:
        return await self.run(migrating.differences)


@pytest.fixture(params=sorted(ENGINES))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with ENGINES[request.param](tmp_path) as (url, run):
        yield Place(url, run)


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def columns(engine: Engine) -> dict[tuple[str, str], ReflectedColumn]:
    seen = inspect(engine)
    return {(table, column["name"]): column for table in seen.get_table_names() for column in seen.get_columns(table)}


def to(revision: str, *, up: bool = False) -> Callable[[Engine], None]:
    def work(engine: Engine) -> None:
        config = migrating._config()
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            (command.upgrade if up else command.downgrade)(config, revision)
            connection.commit()

    return work


async def test_an_empty_database_gets_every_table_of_the_models(place: Place) -> None:
    assert await place.run(migrating.current_revision) is None
    await place.upgrade()
    assert await place.run(migrating.current_revision) == migrating.newest_revision()
    assert await place.run(tables) == set(metadata.tables)
    assert await place.differences() == []


async def test_differences_names_what_is_missing(place: Place) -> None:
    await place.upgrade()
    await place.execute("DROP TABLE dead_letters", "ALTER TABLE runs ADD COLUMN odd INTEGER")
    found = " ".join(await place.differences())
    assert "dead_letters" in found
    assert "odd" in found


async def test_the_indexes_that_rules_rest_on_are_there(place: Place) -> None:
    await place.upgrade()
    indexes = await place.run(lambda engine: {index["name"]: index for index in inspect(engine).get_indexes("runs")})
    assert indexes["uq_runs_turn"]["unique"]
    source = (
        "SELECT sql FROM sqlite_master WHERE name = 'uq_runs_turn'"
        if place.url.startswith("sqlite")
        else "SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_runs_turn'"
    )
    assert "has_turn" in str(await place.value(source)).split("WHERE")[1]


async def test_the_row_that_lets_one_router_work_at_a_time_is_there(place: Place) -> None:
    await place.upgrade()
    assert await place.value("SELECT count(*) FROM locks WHERE name = 'router'") == 1


async def test_D6_migrating_twice_changes_nothing(place: Place) -> None:
    await place.upgrade()
    await place.execute("INSERT INTO locks (name) VALUES ('kept')")
    await place.upgrade()
    assert await place.value("SELECT name FROM locks WHERE name = 'kept'") == "kept"
    assert await place.differences() == []


@pytest.mark.slow
async def test_D6_several_at_once_are_one(place: Place, tmp_path: Path) -> None:
    """Processes that start together; a file appears when all may begin."""
    go = tmp_path / "go"
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(child("-c", MIGRATE, place.url, str(go))) for _ in range(3)]
        for process in children:
            await asyncio.to_thread(process.wait_for, "ready")
        go.touch()
        codes = [await asyncio.to_thread(process.exit_code) for process in children]
    assert codes == [0, 0, 0], "\n".join(process.output for process in children)
    assert await place.differences() == []


async def test_D6_down_and_up_again(place: Place) -> None:
    await place.upgrade()
    await place.run(to("base"))
    assert await place.run(tables) == set()
    assert await place.run(migrating.current_revision) is None
    await place.upgrade()
    assert await place.differences() == []


@pytest.mark.slow
async def test_D6_a_migration_that_is_killed_half_way_leaves_nothing(place: Place) -> None:
    """Its transaction is gone with its process; the next one finds the database as it was, and waits for nobody."""
    with child("-c", DIE, place.url) as process:
        await asyncio.to_thread(process.wait_for, "half-way")
        process.send(signal.SIGKILL)
    await place.upgrade()
    assert await place.run(tables) == set(metadata.tables)
    assert await place.differences() == []


async def test_D6_a_release_s_processes_run_on_the_schema_of_the_next(place: Place) -> None:
    """Nothing that the first schema has is taken away, and what is new in its tables need not be named in an insert."""
    await place.run(to("0001", up=True))
    before = await place.run(columns)
    await place.upgrade()
    after = await place.run(columns)
    assert set(before) <= set(after)
    for name, column in after.items():
        if name[0] not in {table for table, _ in before}:
            continue  # a table that they do not know
        optional = column["nullable"] or column["default"] is not None
        assert optional if name not in before else column["nullable"] == before[name]["nullable"], name


def test_the_files_are_named_after_their_revisions() -> None:
    scripts = ScriptDirectory(str(migrating.FOLDER))
    assert migrating.newest_revision() == scripts.get_current_head()
    for revision in scripts.walk_revisions():
        assert Path(revision.path).name.startswith(f"{revision.revision}_")
