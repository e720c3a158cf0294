"""A command pays for its own libraries only."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("sqlalchemy", "alembic", "fastapi", "uvicorn", "slack_sdk", "watchdog", "prometheus_client")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["main", "run", "runs", "agents", "trace", "logs", "doctor", "schema"])
def test_a_command_of_the_client_loads_no_library_of_the_server(module: str) -> None:
    code = f"import sys, callboard.cli.{module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.slow
def test_the_list_of_commands_loads_none_of_them() -> None:
    code = (
        "import sys; from callboard.cli.main import run_cli; run_cli(['--help']); "
        "print([name for name in ('rich', 'httpx2', 'pydantic', 'yaml') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("[]\n")
