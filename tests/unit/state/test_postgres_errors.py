"""What PostgreSQL's errors mean to a unit of work."""

from __future__ import annotations

import asyncpg
import pytest

from callboard.errors import UnavailableError
from callboard.state.sql.postgres_errors import Kind, kind_of, shown


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset by peer"),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        # Met by a process that was stopped inside a transaction for longer than the server lets it hold one.
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.ProtocolError("unexpected message"),
    ],
)
def test_C10_a_driver_that_lost_its_server_or_its_place_has_lost_the_transaction(error: Exception) -> None:
    assert kind_of(error) is Kind.LOST
    assert isinstance(shown(error, "db"), UnavailableError)


def test_a_defect_of_ours_is_told_as_it_is() -> None:
    defect = KeyError("x")
    assert kind_of(defect) is Kind.OTHER
    assert shown(defect, "db") is defect
