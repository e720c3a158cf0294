"""`sql_query` over real databases: it reads, within limits, and nothing changes whatever comes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from pydantic import JsonValue

from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.sql_database import PostgresReporting, reporting_database
from callboard.agents.tools.sql_query import SqlTools
from callboard.agents.tools.sql_query_sqlite import authorizer, open_read_only
from callboard.agents.tools.tool import NoArtifacts, Tool, ToolContext, ToolError
from callboard.errors import InvalidInputError
from tests.support.cutting_proxy import CuttingProxy
from tests.support.servers.fresh_postgres import empty_postgres
from tests.support.sql_attacks import POSTGRES_DISGUISED, POSTGRES_SINGLE, READING, SEVERAL, SQLITE_SINGLE

CONTEXT = ToolContext(run_id="r" * 32, agent="reporter", idempotency_key="k" * 32, artifacts=NoArtifacts())
_TABLES = (
    "CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance int)",
    "CREATE TABLE secrets (word text)",
    "INSERT INTO secrets VALUES ('canary-word')",
    "INSERT INTO accounts VALUES (1, 'ada', 10), (2, 'bob', 20), (3, 'cyd', 30)",
)

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Place:
    """A database with accounts; `digest` is of everything in it that a statement could change."""

    url: str
    folder: Path
    digest: Callable[[], Any]

    def tool(self, **options: Any) -> Tool:
        return SqlTools(ChildRunner()).factories()["sql_query"]({"database": self.url, **options})

    async def ask(self, sql: str, params: dict[str, JsonValue] | None = None, **options: Any) -> str:
        arguments: dict[str, JsonValue] = {"sql": sql, **({} if params is None else {"params": params})}
        tool = self.tool(**options)
        assert argument_problems(tool.parameters, arguments) == []
        return await tool.call(arguments, CONTEXT)

    async def rows(self, sql: str, params: dict[str, JsonValue] | None = None, **options: Any) -> list[Any]:
        lines = (await self.ask(sql, params, **options)).splitlines()
        return [json.loads(line) for line in lines[1:-1]]


@contextlib.asynccontextmanager
async def sqlite_place(folder: Path) -> AsyncIterator[Place]:
    path = folder / "reports.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in _TABLES:
            connection.execute(statement)

    async def digest() -> object:
        return _files(folder)

    yield Place(f"sqlite:///{path}", folder, digest)


@contextlib.asynccontextmanager
async def postgres_place(folder: Path) -> AsyncIterator[Place]:
    """The role owns every table, so that nothing but the transaction holds it back."""
    role = f"reporter_{secrets.token_hex(6)}"
    async with empty_postgres() as url:
        admin = await asyncpg.connect(url)
        try:
            await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'canary-password'")
            await admin.execute(f"GRANT ALL ON SCHEMA public TO {role}; SET ROLE {role}")
            for statement in (*_TABLES, *_POSTGRES_TOO):
                await admin.execute(statement)
            await admin.execute("RESET ROLE")

            async def digest() -> object:
                return await _postgres_digest(admin)

            parts = urlsplit(url)
            netloc = f"{role}:canary-password@{parts.hostname}:{parts.port}"
            yield Place(urlunsplit(parts._replace(netloc=netloc)), folder, digest)
        finally:
            await admin.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
            await admin.close()


_POSTGRES_TOO = (
    "CREATE SEQUENCE numbers",
    (
        "CREATE FUNCTION wipe() RETURNS bigint LANGUAGE plpgsql AS "
        "'BEGIN DELETE FROM accounts; PERFORM nextval(''numbers''); RETURN 1; END'"
    ),
    "CREATE PROCEDURE wipe_all() LANGUAGE plpgsql AS 'BEGIN DELETE FROM accounts; COMMIT; END'",
    "CREATE MATERIALIZED VIEW totals AS SELECT sum(balance) FROM accounts",
)


async def _postgres_digest(admin: asyncpg.Connection) -> object:
    """Rows, relations, functions, roles, settings, large objects, the sequence: all that the corpus aims at."""
    looks = (
        "SELECT * FROM accounts ORDER BY id",
        "SELECT * FROM secrets",
        "SELECT last_value, is_called FROM numbers",
        "SELECT oid, relname, relkind, relacl::text FROM pg_class WHERE relnamespace >= 2200 ORDER BY oid",
        "SELECT oid, proname FROM pg_proc WHERE pronamespace = 2200 ORDER BY oid",
        "SELECT rolname, rolsuper FROM pg_roles WHERE rolname LIKE '%evil%'",
        (
            "SELECT attrelid, attname FROM pg_attribute WHERE attrelid IN "
            "(SELECT oid FROM pg_class WHERE relnamespace = 2200) ORDER BY 1, 2"
        ),
        "SELECT count(*) FROM pg_largeobject_metadata",
        "SELECT count(*) FROM pg_trigger",
        "SELECT count(*) FROM pg_description WHERE description = 'evil'",
        "SELECT count(*) FROM pg_prepared_xacts",
        (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
    )
    return [[tuple(row) for row in await admin.fetch(look)] for look in looks]


PLACES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Place]]] = MappingProxyType(
    {"sqlite": sqlite_place, "postgres": postgres_place}
)


@pytest.fixture(params=sorted(PLACES))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with PLACES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Place]:
    async with postgres_place(tmp_path) as opened:
        yield opened


async def test_a_question_is_answered_with_columns_and_rows(place: Place) -> None:
    asked = await place.ask("SELECT id, owner FROM accounts ORDER BY id")
    assert asked == 'columns: ["id", "owner"]\n[1,"ada"]\n[2,"bob"]\n[3,"cyd"]\n3 rows'
    assert await place.ask("SELECT id FROM accounts WHERE id > 5") == 'columns: ["id"]\n0 rows'
    assert await place.rows("SELECT NULL, 1.5, 'a' || chr(10) || 'b'".replace("chr", _chr(place))) == [
        [None, 1.5, "a\nb"]
    ]
    assert await place.rows("SELECT 1 AS a, 2 AS a") == [[1, 2]]


async def test_parameters_are_values_and_nothing_else(place: Place) -> None:
    assert (
        await place.rows("SELECT id FROM accounts WHERE owner = :who", {"who": "ada'; DROP TABLE accounts; --"}) == []
    )
    assert await place.rows("SELECT id FROM accounts WHERE balance > :least ORDER BY id", {"least": 15}) == [[2], [3]]
    text = "it's a \\ 'x' ☎ :a %s $1 \n"
    assert await place.rows("SELECT :text AS text, length(:text) AS n", {"text": text}) == [[text, len(text)]]


@pytest.mark.parametrize("sql", READING)
async def test_every_harmless_query_runs(place: Place, sql: str) -> None:
    assert "row" in await place.ask(sql)


async def test_rows_cells_and_bytes_are_cut_and_it_says_so(place: Place) -> None:
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i, owner FROM n, accounts"
    )
    cut = await place.ask(many, max_rows=60)
    assert len(cut.splitlines()) == 62
    assert cut.endswith("rows cut at 60: there are more; narrow the query or aggregate")
    assert (await place.ask(many, max_bytes=1000)).endswith("ask for fewer columns or rows")
    assert len(await place.ask(many, max_bytes=1000)) < 1200
    [[long]] = await place.rows("SELECT :x || :x AS x", {"x": "é" * 3000}, max_cell_chars=100)
    assert long.endswith("…")
    assert 90 < len(long) < 110
    exact = await place.ask("SELECT id FROM accounts", max_rows=3)
    assert exact.endswith("3 rows")


async def test_what_the_database_says_reaches_the_model_without_the_url(place: Place) -> None:
    with pytest.raises(ToolError, match=r"the database says: .*nothing_there") as caught:
        await place.ask("SELECT * FROM nothing_there")
    assert "canary" not in str(caught.value)
    assert str(place.folder) not in str(caught.value)
    with pytest.raises(ToolError, match="the database says"):
        await place.ask("SELECT nothing_there FROM accounts")


async def test_H4_no_statement_of_the_corpus_changes_anything(place: Place) -> None:
    before = await place.digest()
    statements = [*POSTGRES_SINGLE, *POSTGRES_DISGUISED] if _is_postgres(place) else [*SQLITE_SINGLE, *SEVERAL]
    tool = place.tool(timeout_seconds=10)
    answered = []
    for statement in statements:
        sql = statement.replace("{folder}", str(place.folder))
        try:
            answered.append((statement, await tool.call({"sql": sql}, CONTEXT)))
        except ToolError:
            continue
    assert await place.digest() == before
    assert answered == []


async def test_H4_the_transaction_alone_keeps_postgresql_unchanged(postgres: Place) -> None:
    """The parser is passed by, and the statement is not even put into a subquery."""
    before = await postgres.digest()
    database = reporting_database(postgres.url, ChildRunner())
    assert isinstance(database, PostgresReporting)
    for statement in POSTGRES_SINGLE:
        with contextlib.suppress(ToolError):
            async with database.read_only(5.0) as session:
                await session.execute(statement)
    assert await postgres.digest() == before


async def test_H4_the_file_and_the_authorizer_alone_keep_sqlite_unchanged(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        before = await place.digest()
        let_through = []
        for statement in SQLITE_SINGLE:
            sql = statement.replace("{folder}", str(tmp_path))
            with contextlib.closing(
                open_read_only(str(tmp_path / "reports.db"), tables=None, until=_later())
            ) as opened:
                try:
                    opened.execute(sql).fetchall()
                except sqlite3.Error:
                    continue
                let_through.append(statement)
        assert await place.digest() == before
        # Describes what it would do, and does not do it.
        assert let_through == []


@pytest.mark.parametrize("alone", ["query_only", "authorizer", "file"])
async def test_H4_each_of_the_three_walls_of_sqlite_stands_alone(tmp_path: Path, alone: str) -> None:
    async with sqlite_place(tmp_path) as place:
        before = await place.digest()
        mode = "?mode=ro" if alone == "file" else ""
        with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'reports.db'}{mode}", uri=True)) as connection:
            if alone == "query_only":
                connection.execute("PRAGMA query_only = ON")
            if alone == "authorizer":
                connection.set_authorizer(authorizer(None))
            for statement in (
                "INSERT INTO accounts VALUES (9, 'eve', 1)",
                "UPDATE accounts SET balance = 0",
                "DROP TABLE accounts",
            ):
                with pytest.raises(sqlite3.Error):
                    connection.execute(statement)
        assert await place.digest() == before


async def test_H4_only_listed_tables_are_read(place: Place) -> None:
    assert len(await place.rows("SELECT * FROM accounts", tables=["accounts"])) == 3
    assert await place.rows("WITH a AS (SELECT count(*) AS n FROM accounts) SELECT n FROM a", tables=["accounts"]) == [
        [3]
    ]
    with pytest.raises(ToolError, match="table secrets may not be read here; readable are accounts"):
        await place.ask("SELECT * FROM secrets", tables=["accounts"])
    assert "Readable tables: accounts." in place.tool(tables=["accounts"]).description


async def test_H4_the_authorizer_knows_the_listed_tables_too(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path):
        with contextlib.closing(
            open_read_only(str(tmp_path / "reports.db"), tables=["accounts"], until=_later())
        ) as opened:
            assert opened.execute("SELECT count(*) FROM accounts").fetchone() == (3,)
            assert opened.execute("WITH w AS (SELECT id FROM accounts) SELECT max(id) FROM w").fetchone() == (3,)
            assert opened.execute("WITH w AS (SELECT id FROM accounts) SELECT count(*) FROM w").fetchone() == (3,)
            assert opened.execute("SELECT count(*) FROM accounts, json_each('[1, 2]')").fetchone() == (6,)
            for statement in (
                "SELECT * FROM secrets",
                "SELECT count(*) FROM secrets",
                "SELECT * FROM sqlite_master",
                "SELECT * FROM pragma_table_info('secrets')",
                "SELECT 1 FROM accounts, secrets",
                "WITH w AS (SELECT word FROM secrets) SELECT 1 FROM w",
                "WITH accounts AS (SELECT word FROM secrets) SELECT * FROM accounts",
            ):
                with pytest.raises(sqlite3.Error, match=r"prohibited|not authorized"):
                    opened.execute(statement).fetchall()


async def test_a_view_that_is_listed_shows_what_is_under_it(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        with contextlib.closing(sqlite3.connect(tmp_path / "reports.db")) as connection:
            connection.execute("CREATE VIEW words AS SELECT length(word) AS n FROM secrets")
        assert await place.rows("SELECT n FROM words", tables=["words"]) == [[11]]
        assert await place.rows("SELECT count(*) FROM words", tables=["words"]) == [[1]]
        with pytest.raises(ToolError):
            await place.ask("SELECT word FROM secrets", tables=["words"])


async def test_what_tables_there_are_can_be_asked(place: Place) -> None:
    if _is_postgres(place):
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
        columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'accounts' ORDER BY 1"
    else:
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
        columns = "SELECT name FROM pragma_table_info('accounts') ORDER BY 1"
    assert await place.rows(sql) == [["accounts"], ["secrets"]]
    assert await place.rows(columns) == [["balance"], ["id"], ["owner"]]


@pytest.mark.parametrize(
    "bomb",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM {big} a CROSS JOIN {big} b CROSS JOIN {big} c CROSS JOIN {big} d",
        "SELECT a.i FROM {big} a, {big} b, {big} c ORDER BY a.i * b.i % 7919, c.i",
    ],
)
async def test_H4_a_query_without_end_is_stopped(place: Place, bomb: str) -> None:
    big = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n)"
    with pytest.raises(ToolError, match=r"took longer|statement timeout|was ended|memory|disk|full"):
        await place.ask(bomb.replace("{big}", big), timeout_seconds=1.0)


async def test_H4_a_row_of_a_gigabyte_is_not_carried_here(postgres: Place) -> None:
    [[size, start]] = await postgres.rows("SELECT length(x), x FROM (SELECT repeat('x', 50000000) AS x) AS q")
    assert size == 50_000_000
    assert len(start) < 600


async def test_H4_postgresql_waits_for_nobody(postgres: Place) -> None:
    for sleeper in ("SELECT pg_sleep(20)", "SELECT pg_catalog.pg_sleep(20)"):
        with pytest.raises(ToolError, match="refused"):
            await postgres.ask(sleeper)
    database = reporting_database(postgres.url, ChildRunner())
    assert isinstance(database, PostgresReporting)
    with pytest.raises(ToolError, match="statement timeout"):
        async with database.read_only(0.3) as session:
            await session.execute("SELECT pg_sleep(20)")


async def test_what_one_query_sets_the_next_does_not_meet(postgres: Place) -> None:
    database = reporting_database(postgres.url, ChildRunner())
    assert isinstance(database, PostgresReporting)
    async with database.read_only(5.0) as session:
        await session.execute("SELECT pg_advisory_lock(42)")
        await session.execute("SET application_name = 'evil'")
    async with database.read_only(5.0) as session:
        assert (await session.execute("SHOW application_name"))[0][0] == "callboard sql_query"
        assert (await session.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42"))[0][
            0
        ] == 0


async def test_many_questions_at_once_are_all_answered(place: Place) -> None:
    tool = place.tool()
    answers = await asyncio.gather(*(tool.call({"sql": f"SELECT {n} AS n"}, CONTEXT) for n in range(12)))
    assert [f"[{n}]" in answer for n, answer in enumerate(answers)] == [True] * 12


async def test_H6_a_wrong_password_is_told_without_it(postgres: Place) -> None:
    wrong = Place(postgres.url.replace("canary-password", "canary-wrong"), postgres.folder, postgres.digest)
    with pytest.raises(ToolError, match="refuses the connection") as caught:
        await wrong.ask("SELECT 1")
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    away = Place("postgresql://a:canary@127.0.0.1:1/x", tmp_path, dict)
    with pytest.raises(ToolError, match=r"cannot be reached \(ConnectionRefusedError\)"):
        await away.ask("SELECT 1")
    missing = Place(f"sqlite:///{tmp_path}/none.db", tmp_path, dict)
    with pytest.raises(ToolError, match="unable to open database file"):
        await missing.ask("SELECT 1")
    assert not (tmp_path / "none.db").exists()


async def test_D2_a_connection_that_breaks_is_told_and_the_next_query_works(postgres: Place) -> None:
    parts = urlsplit(postgres.url)
    async with CuttingProxy(str(parts.hostname), int(parts.port or 0)) as proxy:
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
        cut = Place(urlunsplit(parts._replace(netloc=netloc)), postgres.folder, postgres.digest)
        tool = cut.tool()
        for words in (b"rolsuper", b"cut-here", b"FETCH"):
            proxy.cut_after(words)
            with pytest.raises(ToolError, match=r"the database says|was lost|refuses") as caught:
                await tool.call({"sql": "SELECT 'cut-here' AS x"}, CONTEXT)
            assert "canary" not in str(caught.value)
        assert proxy.cuts == 3
        assert '["cut-here"]' in await tool.call({"sql": "SELECT 'cut-here' AS x"}, CONTEXT)


async def test_a_sqlite_file_that_somebody_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE n (i int)")
        writer.execute("INSERT INTO n VALUES (1)")
        place = Place(f"sqlite:///{path}", tmp_path, dict)
        assert await place.rows("SELECT i FROM n") == [[1]]
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO n VALUES (2)")
        assert await place.rows("SELECT i FROM n") == [[1]]


async def test_a_role_that_may_do_everything_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with empty_postgres() as url:
        tool = SqlTools(ChildRunner()).factories()["sql_query"]({"database": url})
        await tool.call({"sql": "SELECT 1"}, CONTEXT)
        await tool.call({"sql": "SELECT 1"}, CONTEXT)
    warned = [record for record in caplog.records if "may do everything" in record.getMessage()]
    assert len(warned) == 1


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:canary@host/db",
        "oracle+cx_oracle://canary@host",
        "postgresql://a:canary@host/db?options=-csuperuser",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x.db?mode=rwc",
        "canary",
        "http://canary",
    ],
)
def test_other_databases_are_refused_with_what_is_supported(url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"supported are postgresql://.* and sqlite:///PATH") as caught:
        SqlTools(ChildRunner()).factories()["sql_query"]({"database": url})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{}, {"database": ""}, {"database": "sqlite:///x", "max_rows": 0}, {"database": "sqlite:///x", "rows": 5}],
)
def test_options_that_cannot_be_used_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"sql_query, with\."):
        SqlTools(ChildRunner()).factories()["sql_query"](options)


def _files(folder: Path) -> dict[str, str]:
    files = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}
    assert set(files) == {"reports.db"}
    return files


def _chr(place: Place) -> str:
    return "chr" if _is_postgres(place) else "char"


def _is_postgres(place: Place) -> bool:
    return place.url.startswith("postgresql")


def _later() -> float:
    return time.monotonic() + 20.0
