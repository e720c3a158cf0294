"""scripts/servers leaves nothing behind: not when its command fails, not when it is killed itself."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT, child
from tests.support.servers.binaries import APT_PACKAGES, is_installed
from tests.support.servers.process_tree import descendants, is_alive
from tests.support.servers.session_servers import missing
from tests.support.waiting import wait_until_sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
_SAY = 'echo "$CALLBOARD_TEST_POSTGRES_URL $CALLBOARD_TEST_REDIS_URL $CALLBOARD_TEST_RABBITMQ_URL"'


@pytest.fixture(autouse=True)
def _servers_are_here() -> None:
    for server, package in APT_PACKAGES.items():
        if not is_installed(server):
            missing(f"needs {server}: apt-get install {package}")


def test_the_command_finds_its_servers_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    command = ["scripts/servers", "bash", "-c", f"{_SAY}; exit 7"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 7, done.stderr
    schemes = [url.partition(":")[0] for url in done.stdout.split()]
    assert schemes == ["postgresql", "redis", "amqp"]
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("callboard-")] == []


def test_no_server_outlives_it_when_it_is_killed(tmp_path: Path) -> None:
    script = [
        str(ROOT / "tests/support/servers/__main__.py"),
        "bash",
        "-c",
        "echo servers-are-$((6 * 7)); exec sleep 600",
    ]
    with child(*script, env={"TMPDIR": str(tmp_path)}) as running:
        running.wait_for("servers-are-42", within=120)
        pids = descendants(running.pid)
        assert len(pids) >= 4
        running.send(signal.SIGKILL)
        wait_until_sync(lambda: not any(is_alive(pid) for pid in pids), "every process ends", within=30)
