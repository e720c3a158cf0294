"""A role whose servers are not there waits for them, says so, and spins neither by itself nor with who restarts it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from callboard.bootstrap.distributed.process import SHORTEST_LIFE_SECONDS
from tests.support.processes import Child, child
from tests.support.waiting import wait_until_sync

SECRET = "geheim"


@contextmanager
def serve(folder: Path, role: str, **more: str) -> Iterator[Child]:
    environment = {
        "DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:9/x",
        "RABBITMQ_URL": f"amqp://u:{SECRET}@127.0.0.1:9/",
        "CALLBOARD_HEALTH_PORT": "0",
        "CALLBOARD_PORT": "0",
        "CALLBOARD_LOGS": str(folder / "logs"),
        **more,
    }
    with child("-m", "callboard", "serve", role, env=environment, cwd=folder) as process:
        yield process
    assert SECRET not in process.output


def reason_in(line: str) -> str:
    return str(json.loads(line)["reason"])


@pytest.mark.slow
def test_without_its_database_a_role_waits_says_why_and_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    with serve(tmp_path, "agent-orchestrator") as process:
        assert "127.0.0.1:9" in reason_in(process.wait_for('"waiting"'))
        process.send(signal.SIGTERM)
        assert process.exit_code() == 0


@pytest.mark.slow
def test_a_role_that_waits_for_its_database_uses_next_to_no_processor(tmp_path: Path) -> None:
    with serve(tmp_path, "autonomous-agent-pool") as process:
        process.wait_for('"waiting"')
        before, until = _processor_seconds(process.pid), time.monotonic() + 3.0
        wait_until_sync(lambda: time.monotonic() > until, "a while has passed")
        assert _processor_seconds(process.pid) - before < 0.5


@pytest.mark.slow
def test_a_role_that_cannot_run_says_why_and_does_not_end_at_once(tmp_path: Path) -> None:
    """Whatever restarts it (a container engine begins within a tenth of a second) must not spin."""
    begun = time.monotonic()
    with serve(tmp_path, "api", DATABASE_URL="sqlite:///x.db") as process:
        assert "postgresql://USER:PASSWORD@HOST" in reason_in(process.wait_for("this role cannot run"))
        assert process.exit_code() == 1
    assert time.monotonic() - begun >= SHORTEST_LIFE_SECONDS


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
