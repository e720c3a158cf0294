"""The database port: all of a unit or nothing, commits shared by neighbours, one bad item failing alone (R35, R36)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text

from callboard.errors import InvalidInputError, UnavailableError
from callboard.state.models import locks
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.databases import AnyDatabase
from tests.support.sqlite_file import open_sqlite


def put(name: str) -> Callable[[Connection], str]:
    def unit(connection: Connection) -> str:
        connection.execute(insert(locks), [{"name": name}])
        return name

    return unit


def put_all(connection: Connection, names: Sequence[str]) -> list[str]:
    """A batch unit that cannot stand the name `bad`."""
    connection.execute(insert(locks), [{"name": name} for name in names])
    if "bad" in names:
        raise InvalidInputError("bad cannot be put")
    return [name.upper() for name in names]


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """For what only an adapter with one writer does, which a thread can hold back."""
    async with open_sqlite(tmp_path) as database:
        assert isinstance(database, SqliteDatabase)
        yield database


async def names(database: AnyDatabase) -> list[str]:
    found = select(locks.c.name).where(locks.c.name != "router").order_by(locks.c.name)
    rows = await database.read(lambda c: c.execute(found).scalars().all())
    return list(rows)


class Commits:
    """Counts those since it was made."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._before = database.commits

    @property
    def count(self) -> int:
        return self._database.commits - self._before


class Held:
    """A unit that occupies the writer until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _connection: Connection) -> None:
        self.begun.set()
        assert self.go_on.wait(10)


async def test_a_unit_s_result_comes_back_and_a_read_sees_it(database: AnyDatabase) -> None:
    assert await database.write(put("a")) == "a"
    assert await names(database) == ["a"]


async def test_a_unit_that_raises_leaves_no_trace_and_its_caller_hears_it(database: AnyDatabase) -> None:
    def unit(connection: Connection) -> None:
        connection.execute(insert(locks), [{"name": "a"}])
        raise InvalidInputError("no")

    with pytest.raises(InvalidInputError, match="no"):
        await database.write(unit)
    assert await names(database) == []


async def test_units_that_gather_behind_a_commit_share_the_next_one(sqlite: SqliteDatabase) -> None:
    commits, held = Commits(sqlite), Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    rest = [asyncio.ensure_future(sqlite.write(put(f"{n:03}"))) for n in range(100)]
    await asyncio.sleep(0)
    held.go_on.set()
    await asyncio.gather(first, *rest)
    assert commits.count == 2
    assert len(await names(sqlite)) == 100


async def test_in_a_shared_commit_only_the_unit_that_raises_is_undone(sqlite: SqliteDatabase) -> None:
    commits, held = Commits(sqlite), Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    rest = [asyncio.ensure_future(sqlite.write(put(name))) for name in ("a", "b", "a", "c")]
    batch = [asyncio.ensure_future(sqlite.batch(put_all, name)) for name in ("x", "bad", "y")]
    await asyncio.sleep(0)
    held.go_on.set()
    await first
    answers = await asyncio.gather(*rest, return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in answers] == [False, False, True, False]
    results = await asyncio.gather(*batch, return_exceptions=True)
    assert (results[0], results[2]) == ("X", "Y")
    assert isinstance(results[1], InvalidInputError)
    assert commits.count == 2
    assert await names(sqlite) == ["a", "b", "c", "x", "y"]


async def test_items_that_wait_together_go_through_one_call_in_order(sqlite: SqliteDatabase) -> None:
    calls: list[list[int]] = []

    def unit(_connection: Connection, items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        return [item * 2 for item in items]

    held = Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    waiting = [asyncio.ensure_future(sqlite.batch(unit, n)) for n in range(50)]
    await asyncio.sleep(0)
    held.go_on.set()
    assert await asyncio.gather(first, *waiting) == [None, *(n * 2 for n in range(50))]
    assert calls == [list(range(50))]


async def test_items_of_a_batch_come_back_to_their_callers_and_a_bad_one_fails_alone(database: AnyDatabase) -> None:
    wanted = [f"n{n:02}" for n in range(20)]
    wanted.insert(13, "bad")
    answers = await asyncio.gather(*(database.batch(put_all, name) for name in wanted), return_exceptions=True)
    failed = [name for name, answer in zip(wanted, answers, strict=True) if isinstance(answer, InvalidInputError)]
    assert failed == ["bad"]
    assert [answer for answer in answers if isinstance(answer, str)] == [n.upper() for n in wanted if n != "bad"]
    assert await names(database) == [name for name in wanted if name != "bad"]


async def test_a_commit_that_fails_fails_everybody_in_it(sqlite: SqliteDatabase) -> None:
    """A deferred constraint is what a commit itself can trip over."""

    def broken(connection: Connection) -> None:
        connection.execute(text("PRAGMA defer_foreign_keys=ON"))
        connection.execute(text("INSERT INTO trial_child (parent) VALUES (7)"))

    await sqlite.write(lambda c: c.execute(text("CREATE TABLE trial_parent (id INTEGER PRIMARY KEY)")).close())
    await sqlite.write(
        lambda c: c.execute(
            text("CREATE TABLE trial_child (parent INTEGER REFERENCES trial_parent (id) DEFERRABLE INITIALLY DEFERRED)")
        ).close()
    )
    held = Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    both = [asyncio.ensure_future(sqlite.write(unit)) for unit in (put("a"), broken, put("b"))]
    await asyncio.sleep(0)
    held.go_on.set()
    await first
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert all(isinstance(answer, Exception) for answer in answers)
    assert await names(sqlite) == []
    assert await sqlite.write(put("c")) == "c"


async def test_a_full_disk_is_unavailable_for_all_and_passes(sqlite: SqliteDatabase) -> None:
    """SQLite undoes the whole transaction by itself then, savepoints and neighbours included."""

    def limit(connection: Connection) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))

    def fill(connection: Connection) -> None:
        connection.execute(insert(locks), [{"name": f"{n:0200}"} for n in range(2000)])

    await sqlite.write(limit)
    held = Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    both = [asyncio.ensure_future(sqlite.write(unit)) for unit in (put("a"), fill, put("b"))]
    await asyncio.sleep(0)
    held.go_on.set()
    await first
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(answers[1], UnavailableError)
    assert "free space" in answers[1].message
    stored = await names(sqlite)
    for name, answer in (("a", answers[0]), ("b", answers[2])):
        assert (name in stored) is not isinstance(answer, UnavailableError)
    with pytest.raises(UnavailableError):
        await sqlite.write(fill)
    await sqlite.write(lambda c: c.execute(text("PRAGMA max_page_count=1073741823")).close())
    await sqlite.write(fill)


async def test_a_caller_that_goes_away_disturbs_nobody(sqlite: SqliteDatabase) -> None:
    held = Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    gone = asyncio.ensure_future(sqlite.write(put("a")))
    stays = asyncio.ensure_future(sqlite.write(put("b")))
    await asyncio.sleep(0)
    gone.cancel()
    held.go_on.set()
    await asyncio.gather(first, stays)
    assert "b" in await names(sqlite)


async def test_a_write_is_seen_by_every_read_that_begins_after_it(database: AnyDatabase) -> None:
    for n in range(30):
        await database.write(put(f"{n:03}"))
        counts = await asyncio.gather(*(names(database) for _ in range(8)))
        assert [len(found) for found in counts] == [n + 1] * 8


async def test_a_read_sees_no_half_of_a_write(sqlite: SqliteDatabase) -> None:
    held = Held()

    def half(connection: Connection) -> None:
        connection.execute(insert(locks), [{"name": "a"}])
        held(connection)
        connection.execute(insert(locks), [{"name": "b"}])

    writing = asyncio.ensure_future(sqlite.write(half))
    await asyncio.to_thread(held.begun.wait, 10)
    assert await names(sqlite) == []
    held.go_on.set()
    await writing
    assert await names(sqlite) == ["a", "b"]


async def test_what_was_accepted_before_the_close_is_written(sqlite: SqliteDatabase) -> None:
    held = Held()
    first = asyncio.ensure_future(sqlite.write(held))
    await asyncio.to_thread(held.begun.wait, 10)
    rest = [asyncio.ensure_future(sqlite.write(put(name))) for name in "abc"]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(sqlite.close())
    await asyncio.sleep(0)
    held.go_on.set()
    await closing
    await first
    assert await asyncio.gather(*rest) == ["a", "b", "c"]


async def test_a_closed_database_is_unavailable(database: AnyDatabase) -> None:
    await database.close()
    with pytest.raises(UnavailableError, match="closed"):
        await database.write(put("a"))
    with pytest.raises(UnavailableError, match="closed"):
        await names(database)
    with pytest.raises(UnavailableError):
        await database.ping()
