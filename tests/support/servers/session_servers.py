"""The shared servers of a whole test run: scripts/servers starts them and says in the environment where they are."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

POSTGRES_URL = "CALLBOARD_TEST_POSTGRES_URL"
REDIS_URL = "CALLBOARD_TEST_REDIS_URL"
RABBITMQ_URL = "CALLBOARD_TEST_RABBITMQ_URL"
RABBITMQ_MANAGEMENT_URL = "CALLBOARD_TEST_RABBITMQ_MANAGEMENT_URL"

_NAMES = {POSTGRES_URL: "PostgreSQL", REDIS_URL: "Redis", RABBITMQ_URL: "RabbitMQ", RABBITMQ_MANAGEMENT_URL: "RabbitMQ"}


def session_url(variable: str) -> str:
    """Where a shared server is; without it the test is skipped with the command that brings it (CI=true: it fails)."""
    url = os.environ.get(variable)
    if not url:
        missing(f"needs {_NAMES[variable]}: run scripts/servers .venv/bin/pytest …, or set {variable}")
    return url


def missing(reason: str) -> NoReturn:
    """End the running test: skipped for a person, failed where everything has to be there (CI=true)."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
