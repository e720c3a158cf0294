"""`python -m benchmarks [--rounds N] [subject …]`: measures and prints one table."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    agent_files,
    agent_state,
    bus,
    continuous,
    durable_runs,
    memory,
    model_runs,
    pool_memory,
    runs,
    slack_ack,
    slack_requests,
    start,
    streaming,
    waiting_runs,
)
from benchmarks.servers import Servers, servers
from benchmarks.table import Row, render

EMBEDDED: Mapping[str, Callable[[Path], list[Row]]] = {
    "runs": runs.measure,
    "slack": slack_ack.measure,
    "start": start.measure,
    "files": agent_files.measure,
    "memory": memory.measure,
    "models": model_runs.measure,
    "tools": model_runs.measure_tools,
    "streaming": streaming.measure,
}
DISTRIBUTED: Mapping[str, Callable[..., list[Row]]] = {
    "bus": bus.measure,
    "durable": durable_runs.measure,
    "waiting": waiting_runs.measure,
    "gateway": slack_requests.measure,
    "pool": pool_memory.measure,
    "state": agent_state.measure,
    "continuous": continuous.measure,
}
"""Those that need servers, and peers beside them."""


def main(arguments: Sequence[str]) -> int:
    """1 when a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    subjects = [*EMBEDDED, *DISTRIBUTED]
    parser.add_argument("subjects", nargs="*", metavar="subject", help=", ".join(subjects))
    parser.add_argument("--rounds", type=int, help="how often each side of a comparison is measured, in turn")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.subjects if name not in subjects]
    if unknown:
        parser.error(f"unknown subject {unknown[0]!r}; there are: {', '.join(subjects)}")
    wanted = given.subjects or subjects
    rows: list[Row] = []
    for name in wanted:
        if name in EMBEDDED:
            with tempfile.TemporaryDirectory(prefix="callboard-benchmark-") as folder:
                rows += EMBEDDED[name](Path(folder))
    distributed = [name for name in wanted if name in DISTRIBUTED]
    if distributed:
        rows += asyncio.run(_distributed(distributed, {} if given.rounds is None else {"rounds": given.rounds}))
    load = os.getloadavg()[0]
    print(render(rows, f"{os.cpu_count()} cores, load {load:.1f}, Python {sys.version.split()[0]}"))
    return int(any(row.within is False for row in rows))


async def _distributed(names: Sequence[str], options: Mapping[str, int]) -> list[Row]:
    """The servers live in this loop; what is measured, in processes of its own."""
    rows: list[Row] = []
    async with servers() as started:
        for name in names:
            print(f"{name}:", file=sys.stderr, flush=True)
            rows += await asyncio.to_thread(_measured, name, started, options)
    return rows


def _measured(name: str, started: Servers, options: Mapping[str, int]) -> list[Row]:
    return DISTRIBUTED[name](started, **options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
