"""Resident memory of `callboard up`, and what idle continuous agents add to it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.child import Child, callboard_up
from benchmarks.house import write_agents
from benchmarks.table import Row

MEGABYTE = 1_000_000
AGENTS = 20
PEER = """
import sqlalchemy, fastapi, uvicorn, uvloop, orjson, pydantic, yaml, httpx2, watchdog.observers, alembic, os
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * os.sysconf("SC_PAGE_SIZE"))
"""


def measure(folder: Path, *, conversations: int = 5000) -> list[Row]:
    """The continuous agents are idle after one event each, which made and saved their state."""
    few = folder / "few"
    write_agents(few / "agents", AGENTS)
    with callboard_up(few) as child:
        for number in range(AGENTS):
            _invoke(child, f"echo-{number}")
        _until_idle(child)
        alone = child.resident_bytes()
    many = folder / "many"
    write_agents(many / "agents", AGENTS)
    write_agents(many / "agents", 1, mode="continuous", prefix="memory")
    with callboard_up(many) as child:
        for number in range(AGENTS):
            _invoke(child, f"echo-{number}")
        _until_idle(child)
        before = child.resident_bytes()
        for number in range(conversations):
            _invoke(child, "memory-0", conversation_id=f"conversation-{number}")
        _until_idle(child)
        after = child.resident_bytes()
    peer = int(subprocess.run([sys.executable, "-c", PEER], check=True, capture_output=True).stdout)
    return [
        Row(
            subject=f"resident memory with {AGENTS} scripted agents",
            measured=alone / MEGABYTE,
            unit="MB",
            bound=150,
            peer=peer / MEGABYTE,
            peer_name="the libraries alone",
        ),
        Row(
            subject=f"{conversations:,} idle continuous agents add",
            measured=max(0, after - before) / MEGABYTE,
            unit="MB",
            bound=50,
        ),
    ]


def _invoke(child: Child, agent: str, **more: str) -> None:
    body = json.dumps({"agent": agent, "input": "hello", **more}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{child.port}/api/v1/agents/invoke", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # an address of ours
        assert answer.status == 202, answer.status


def _until_idle(child: Child, within_seconds: float = 120.0) -> None:
    """Returns when nothing is queued or under way, and the process has had a moment to let go of what it held."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{child.port}/api/v1/runs?limit=100", timeout=30) as answer:
            runs = json.load(answer)
        rows = runs["runs"] if isinstance(runs, dict) else runs
        if rows and all(run["status"] not in ("queued", "running") for run in rows):
            time.sleep(1.0)
            return
        time.sleep(0.1)
    raise TimeoutError("the system is still at work")
