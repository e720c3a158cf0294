"""A process and everything it started, found through /proc: backends of PostgreSQL are in sessions of their own."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The children of a process, their children and so on; not the process itself."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _stat(entry)
            if parent is not None:
                children.setdefault(parent[1], []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def is_alive(pid: int) -> bool:
    """Whether it runs or is stopped; a process that only waits to be collected is not alive."""
    stat = _stat(Path("/proc") / str(pid))
    return stat is not None and stat[0] not in "ZX"


def send(pids: list[int], number: signal.Signals) -> None:
    """Send each of them a signal; one that has ended is passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _stat(process: Path) -> tuple[str, int] | None:
    """State and parent."""
    try:
        state, parent = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return state, int(parent)
