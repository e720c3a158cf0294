"""From a request that is accepted to its result in the database, with an agent that does nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import bare_rows
from benchmarks.house import Requests, running
from benchmarks.table import Row, quantile

IN_FLIGHT = 32
AGENT = "echo-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds a request one at a time; runs a second and CPU seconds a run with `IN_FLIGHT` under way."""

    alone: list[float]
    rate: float
    crowded: list[float]
    cpu_seconds: float


def measure(folder: Path, *, alone: int = 500, sustained: int = 6400) -> list[Row]:
    found = uvloop.run(_measure(folder / "system", alone, sustained))
    single = bare_rows.runs_a_second(folder / "single", max(20, sustained // 20), 1)
    grouped = bare_rows.runs_a_second(folder / "grouped", sustained, IN_FLIGHT)
    return [
        Row(
            subject="run, one at a time: median",
            measured=quantile(found.alone, 0.5) * 1000,
            unit="ms",
            bound=15,
        ),
        Row(subject="run, one at a time: p99", measured=quantile(found.alone, 0.99) * 1000, unit="ms", bound=60),
        Row(subject="runs a second, 32 in flight", measured=found.rate, unit="/s", bound=400, floor=True),
        Row(
            subject="… against one commit a statement",
            measured=found.rate,
            unit="/s",
            bound=1.6,
            floor=True,
            of_ratio=True,
            peer=single,
            peer_name="bare Core",
        ),
        Row(
            subject="… against 32 rows a commit",
            measured=found.rate,
            unit="/s",
            bound=0.2,
            floor=True,
            of_ratio=True,
            peer=grouped,
            peer_name="bare Core",
        ),
        Row(subject="… its p99", measured=quantile(found.crowded, 0.99) * 1000, unit="ms"),
        Row(subject="… CPU a run", measured=found.cpu_seconds * 1000, unit="ms"),
    ]


async def _measure(folder: Path, alone: int, sustained: int) -> Measured:
    async with running(folder) as system:
        requests = Requests(system)
        await requests.many(AGENT, max(10, alone // 10), 1)
        one_by_one = await requests.many(AGENT, alone, 1)
        await requests.many(AGENT, max(IN_FLIGHT, sustained // 20), IN_FLIGHT)
        began, cpu = time.perf_counter(), time.process_time()
        crowded = await requests.many(AGENT, sustained, IN_FLIGHT)
        took, used = time.perf_counter() - began, time.process_time() - cpu
    return Measured(alone=one_by_one, rate=len(crowded) / took, crowded=crowded, cpu_seconds=used / len(crowded))
