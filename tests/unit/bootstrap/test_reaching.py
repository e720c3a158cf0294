"""Servers that are named and cannot be reached: a sentence for each, with the way out and without its password."""

from __future__ import annotations

from pathlib import Path

from callboard.bootstrap.reaching import reach_servers
from callboard.settings import load_settings


def test_each_server_that_is_named_is_tried_and_its_absence_told(tmp_path: Path) -> None:
    settings = load_settings(
        tmp_path,
        database_url="postgresql://u:geheim@127.0.0.1:9/x",
        rabbitmq_url="amqp://u:geheim@127.0.0.1:9/",
        redis_url="redis://:geheim@127.0.0.1:9/0",
    )
    found = dict(reach_servers(settings))
    assert set(found) == {"PostgreSQL (DATABASE_URL)", "RabbitMQ (RABBITMQ_URL)", "Redis (REDIS_URL)"}
    for name, problem in found.items():
        assert problem is not None, name
        assert name.partition("(")[2].rstrip(")") in problem
        assert "geheim" not in problem


def test_what_is_not_named_is_not_tried(tmp_path: Path) -> None:
    assert reach_servers(load_settings(tmp_path)) == []
