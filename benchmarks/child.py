"""`callboard up` as a process of its own, as users run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.ports import free_port

START_SECONDS = 60.0
SECRET = "benchmark-signing-secret"  # noqa: S105  # of a gateway that lives for a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """The running process, its port, and the seconds from its birth to the first good answer of /health."""

    pid: int
    port: int
    ready_seconds: float

    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM now (Linux: the second field of statm, in pages)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def callboard_up(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Child]:
    """`callboard up` over `folder`/agents and `folder`/data; stopped at the end."""
    port = free_port()
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    environment = {
        **inherited,
        "CALLBOARD_AGENTS": str(folder / "agents"),
        "CALLBOARD_DATA": str(folder / "data"),
        "CALLBOARD_LOGS": str(folder / "logs"),
        "CALLBOARD_PORT": str(port),
        **(environment or {}),
    }
    command = [sys.executable, "-c", "from callboard.cli.main import main; main()", "up"]
    began = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        _until_healthy(process, port, folder)
        yield Child(pid=process.pid, port=port, ready_seconds=time.monotonic() - began)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_healthy(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"callboard up ended: {(folder / 'output.txt').read_text()[-2000:]}")
        if _healthy(port):
            return
        time.sleep(0.005)
    raise RuntimeError(f"callboard up is not healthy after {START_SECONDS:g} s")


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
