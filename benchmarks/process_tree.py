"""Memory of a process and everything under it."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and its descendants that live now, parents first."""
    found = [pid]
    for parent in found:
        for task in (PROC / str(parent) / "task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def proportional_bytes(pid: int) -> int:
    """Proportional set size of the whole tree: pages that several processes share are counted once among them."""
    return sum(_kilobytes(member, "Pss") for member in tree(pid)) * 1024


def resident_bytes(pid: int) -> int:
    """Resident set size of one process, shared pages in full."""
    return _kilobytes(pid, "Rss") * 1024


def _kilobytes(pid: int, field: str) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{field}:"))
