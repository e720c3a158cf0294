"""A pool's process without model libraries: what it holds in memory, and how soon after its birth a first run ends."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peer_environment import peer_python
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

MEGABYTE = 1_000_000


def measure(servers: Servers, *, rounds: int = 3, count: int = 400) -> list[Row]:
    def given() -> Mapping[str, object]:
        return {**servers.fresh(), "work": "memory", "queue": "benchmark", "count": count}

    found = alternate(
        [
            Side(name="ours", module="benchmarks.sides.pool", arguments=given),
            Side(name="Celery", module="benchmarks.peers.celery_runs", arguments=given, python=peer_python()),
        ],
        rounds,
    )
    return [
        Row(
            subject=f"a pool's process after {count} runs: proportional set size",
            measured=found["ours"]["bytes"] / MEGABYTE,
            unit="MB",
            bound=1,
            of_ratio=True,
            peer=found["Celery"]["bytes"] / MEGABYTE,
            peer_name="Celery, 4 processes",
        ),
        Row(subject="… its birth → the first run ended", measured=found["ours"]["first"], unit="s", bound=2),
    ]
