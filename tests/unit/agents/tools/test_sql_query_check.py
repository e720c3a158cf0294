"""What the parser lets through reads, and only what may be read; every disguise is seen through."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from callboard.agents.tools.sql_query_check import Dialect, RefusedSqlError, checked_sql
from tests.support.sql_attacks import (
    POSTGRES_DISGUISED,
    POSTGRES_SINGLE,
    POSTGRES_UNKNOWABLE,
    READING,
    SEVERAL,
    SQLITE_SINGLE,
)

_PIECES = [
    *["SELECT", "FROM", "WITH", "AS", "DELETE", "INTO", "UPDATE", "accounts"],
    *"()'\";[]`@.,*1a",
    "--",
    "/*",
    "*/",
    "$$",
    "E'",
    ":a",
    "$1",
    "||",
]


def test_H4_the_corpus_is_large() -> None:
    assert len({*POSTGRES_SINGLE, *POSTGRES_DISGUISED}) > 120
    assert len({*SQLITE_SINGLE, *SEVERAL}) > 60


@pytest.mark.parametrize("sql", [*POSTGRES_SINGLE, *POSTGRES_DISGUISED])
def test_H4_what_does_not_only_read_is_refused_for_postgresql(sql: str) -> None:
    if sql in POSTGRES_UNKNOWABLE:
        checked_sql(sql, "postgres")  # a function of somebody's own: the transaction is there for it
        return
    with pytest.raises(RefusedSqlError, match=r"^refused: "):
        checked_sql(sql, "postgres")


@pytest.mark.parametrize("sql", [*SQLITE_SINGLE, *SEVERAL])
def test_H4_what_does_not_only_read_is_refused_for_sqlite(sql: str) -> None:
    with pytest.raises(RefusedSqlError, match=r"^refused: "):
        checked_sql(sql, "sqlite")


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
@pytest.mark.parametrize("sql", READING)
def test_what_reads_is_let_through(sql: str, dialect: Dialect) -> None:
    assert ";" not in checked_sql(sql, dialect).replace("TABLE accounts; --", "")


def test_what_is_run_is_what_was_understood() -> None:
    assert checked_sql("select /* x */ 1 -- y", "postgres") == "SELECT 1"
    assert checked_sql("SELECT pg_typeof(1), my_own(2)", "postgres") == "SELECT pg_typeof(1), my_own(2)"
    with pytest.raises(RefusedSqlError, match="write a plain"):
        checked_sql("SELECT $$it's$$", "postgres")


def test_parameters_are_written_in_as_literals() -> None:
    params: dict[str, JsonValue] = {"a": "it's", "b": 5, "c": None, "d": True, "e": -1.5, "f": "\\'; DROP TABLE x; --"}
    assert (
        checked_sql("SELECT :a, :b, :c, :d, :e, :f, ':a'", "postgres", params=params)
        == "SELECT 'it''s', 5, NULL, TRUE, -1.5, '\\''; DROP TABLE x; --', ':a'"
    )
    with pytest.raises(RefusedSqlError, match="no value for parameter :who"):
        checked_sql("SELECT :who", "sqlite")
    with pytest.raises(RefusedSqlError, match="has no parameter :more"):
        checked_sql("SELECT :a", "sqlite", params={"a": 1, "more": 2})
    with pytest.raises(RefusedSqlError, match="must be a text, a number"):
        checked_sql("SELECT :a", "sqlite", params={"a": [1]})


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
@given(text=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60))
def test_H4_no_text_of_a_parameter_leaves_its_quotes(dialect: Dialect, text: str) -> None:
    written = checked_sql("SELECT :text AS found", dialect, params={"text": text})
    assert written == "SELECT '" + text.replace("'", "''") + "' AS found"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM secrets",
        "SELECT * FROM public.secrets",
        "SELECT * FROM other.accounts",
        'SELECT * FROM "Accounts"',
        "SELECT * FROM db.public.accounts",
        "SELECT * FROM accounts JOIN secrets USING (id)",
        "SELECT * FROM accounts WHERE id IN (SELECT id FROM secrets)",
        "SELECT (SELECT max(word) FROM secrets) FROM accounts",
        "SELECT 1 UNION SELECT word FROM secrets",
        "TABLE secrets",
        "WITH accounts AS (SELECT * FROM secrets) SELECT * FROM accounts",
        "WITH secrets AS (SELECT * FROM secrets) SELECT * FROM secrets",
        "WITH a AS (WITH secrets AS (SELECT 1) SELECT * FROM secrets) SELECT * FROM a, secrets",
        "WITH a AS (SELECT * FROM secrets), secrets AS (SELECT 1) SELECT * FROM a",
        "SELECT * FROM (WITH secrets AS (SELECT 1) SELECT 1) AS x, secrets",
        "SELECT * FROM accounts, LATERAL (SELECT * FROM secrets) AS s",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT pg_get_viewdef('secrets')",
        "SELECT query_to_xml('SELECT * FROM secrets', true, true, '')",
    ],
)
def test_H4_a_table_that_is_not_listed_is_not_read(sql: str) -> None:
    with pytest.raises(RefusedSqlError):
        checked_sql(sql, "postgres", tables=("accounts", "sales.orders"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM accounts",
        "SELECT * FROM ACCOUNTS a, public.accounts b, sales.orders",
        "WITH mine AS (SELECT * FROM accounts) SELECT * FROM mine UNION SELECT * FROM mine",
        "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT * FROM b, accounts",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n",
        "SELECT * FROM generate_series(1, 3)",
    ],
)
def test_listed_tables_and_what_with_names_are_read(sql: str) -> None:
    checked_sql(sql, "postgres", tables=("accounts", "sales.orders"))


def test_H12_a_statement_that_is_not_known_writes_no_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedSqlError):
        checked_sql('DO $$ "level":"x" $$', "postgres")
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("sqlglot").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
@given(
    sql=st.text(max_size=80)
    | st.lists(
        st.sampled_from(_PIECES),
        max_size=25,
    ).map(" ".join)
)
def test_any_text_is_refused_or_understood(dialect: Dialect, sql: str) -> None:
    try:
        written = checked_sql(sql, dialect, params={})
    except RefusedSqlError:
        return
    assert checked_sql(written, dialect), "what was written is understood again"
