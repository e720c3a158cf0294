"""How soon `callboard up` is ready, from the birth of its process to the first good answer of /health."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import callboard_up
from benchmarks.house import write_agents
from benchmarks.table import Row

AGENTS = 20
IMPORTS = "import sqlalchemy, fastapi, uvicorn, uvloop, orjson, pydantic, yaml, httpx2, watchdog.observers, alembic"


def measure(folder: Path, *, starts: int = 5) -> list[Row]:
    """The first start makes the database; the later ones find it."""
    write_agents(folder / "agents", AGENTS)
    took = [_start(folder) for _ in range(starts)]
    peer = statistics.median(_bare() for _ in range(starts))
    return [
        Row(
            subject=f"ready with {AGENTS} agents, first start",
            measured=took[0],
            unit="s",
            bound=3,
            peer=peer,
            peer_name="importing the libraries",
        ),
        Row(
            subject="… later starts, median",
            measured=statistics.median(took[1:] or took),
            unit="s",
            bound=3,
            peer=peer,
            peer_name="importing the libraries",
        ),
    ]


def _start(folder: Path) -> float:
    with callboard_up(folder) as child:
        return child.ready_seconds


def _bare() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.monotonic() - began
