"""`python -m benchmarks [subject …]`: measures and prints one table."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import agent_files, memory, runs, slack_ack, start
from benchmarks.table import Row, render

SUBJECTS: Mapping[str, Callable[[Path], list[Row]]] = {
    "runs": runs.measure,
    "slack": slack_ack.measure,
    "start": start.measure,
    "files": agent_files.measure,
    "memory": memory.measure,
}


def main(names: Sequence[str]) -> int:
    """1 when a bound is not kept."""
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        print(f"unknown subject {unknown[0]!r}; there are: {', '.join(SUBJECTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or SUBJECTS:
        with tempfile.TemporaryDirectory(prefix="callboard-benchmark-") as folder:
            rows += SUBJECTS[name](Path(folder))
    load = os.getloadavg()[0]
    print(render(rows, f"{os.cpu_count()} cores, load {load:.1f}, Python {sys.version.split()[0]}"))
    return int(any(row.within is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
