"""The adapters are chosen by the scheme of their addresses; another address is refused with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.bootstrap.servers import bus_at, database_at
from callboard.clock import SystemClock
from callboard.errors import InvalidInputError
from callboard.settings import load_settings


@pytest.mark.parametrize("url", [None, "sqlite:///x.db", "mysql://u:geheim@db/x", "nonsense geheim"])
def test_a_role_needs_postgresql(tmp_path: Path, url: str | None) -> None:
    with pytest.raises(InvalidInputError, match=r"DATABASE_URL is .*postgresql://USER:PASSWORD@HOST") as refused:
        database_at(load_settings(tmp_path, database_url=url))
    assert "geheim" not in refused.value.message


@pytest.mark.parametrize("url", [None, "memory://", "redis://:geheim@r/0"])
def test_a_role_needs_rabbitmq(tmp_path: Path, url: str | None) -> None:
    settings = load_settings(tmp_path, rabbitmq_url=url)
    with pytest.raises(InvalidInputError, match=r"RABBITMQ_URL is .*amqp://USER:PASSWORD@HOST") as refused:
        bus_at(settings, SystemClock(), name="api", keeps_topology=False)
    assert "geheim" not in refused.value.message


def test_addresses_are_taken_without_speaking_to_anybody(tmp_path: Path) -> None:
    settings = load_settings(
        tmp_path, database_url="postgresql://u:p@127.0.0.1:1/x", rabbitmq_url="amqp://u:p@127.0.0.1:1/"
    )
    assert "p@" not in database_at(settings).where
    bus_at(settings, SystemClock(), name="api", keeps_topology=True)
