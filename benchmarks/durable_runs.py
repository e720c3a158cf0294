"""The whole way of a run: an event is published, becomes a row, a pool works, its result is a row, an event says so.

Peers do what is nearest to it. DBOS: a client enqueues a workflow of one step, a worker's process runs it. Celery: a
task that is kept until it is done; it stores nothing. procrastinate: a job is deferred, a worker's process runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.peer_environment import peer_python
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

IN_FLIGHT = 100
POLLING_SECONDS = 0.1
"""How often DBOS reads its queue, where its default is a second: with more and with less it does fewer a second."""
QUICK_POLLING_SECONDS = 0.01
"""For whoever wants one workflow soon, and has it look a hundred times a second at an empty queue; shown beside."""


def measure(servers: Servers, *, rounds: int = 3, count: int = 5000, alone: int = 120) -> list[Row]:
    return [*_crowded(servers, rounds, count), *_alone(servers, rounds, alone)]


def _crowded(servers: Servers, rounds: int, count: int) -> list[Row]:
    def given(share: int = 1, **more: object) -> Callable[[], Mapping[str, object]]:
        common = {"work": "whole", "count": count // share, "in_flight": IN_FLIGHT}
        return lambda: {**servers.fresh(), **common, **more}

    python = peer_python()
    safe = given(2, queue="benchmark", safe=True)
    found = alternate(
        [
            Side(name="ours", module="benchmarks.sides.runs", arguments=given()),
            Side(
                name="DBOS",
                module="benchmarks.peers.dbos_runs",
                arguments=given(5, polling_seconds=POLLING_SECONDS),
                python=python,
            ),
            Side(
                name="DBOS direct",
                module="benchmarks.peers.dbos_runs",
                arguments=given(5, direct=True),
                python=python,
            ),
            Side(name="procrastinate", module="benchmarks.peers.procrastinate_runs", arguments=given(5), python=python),
            Side(name="Celery", module="benchmarks.peers.celery_runs", arguments=safe, python=python),
        ],
        rounds,
    )
    ours = found["ours"]["rate"]
    compared = (
        ("whole runs, 100 in flight, against workflows", 3, "DBOS", "DBOS, queue and worker"),
        ("… in one process without a queue", None, "DBOS direct", "DBOS, started directly"),
        ("… against jobs", 4, "procrastinate", "procrastinate"),
        ("… against tasks that store nothing", 1, "Celery", "Celery, acks_late, confirms"),
    )
    return [
        Row(
            subject=subject,
            measured=ours,
            unit="/s",
            bound=bound,
            floor=True,
            of_ratio=True,
            peer=found[side]["rate"],
            peer_name=name,
        )
        for subject, bound, side, name in compared
    ]


def _alone(servers: Servers, rounds: int, count: int) -> list[Row]:
    def given(share: int = 1, **more: object) -> Callable[[], Mapping[str, object]]:
        common = {"work": "alone", "count": count // share, "in_flight": 1}
        return lambda: {**servers.fresh(), **common, **more}

    python = peer_python()
    dbos, procrastinate = "benchmarks.peers.dbos_runs", "benchmarks.peers.procrastinate_runs"
    tuned, usual = given(6, polling_seconds=POLLING_SECONDS), given(12)
    quick = given(6, polling_seconds=QUICK_POLLING_SECONDS)
    found = alternate(
        [
            Side(name="ours", module="benchmarks.sides.runs", arguments=given()),
            Side(name="DBOS", module=dbos, arguments=tuned, python=python),
            Side(name="DBOS, 10 ms", module=dbos, arguments=quick, python=python),
            Side(name="DBOS, 1 s", module=dbos, arguments=usual, python=python),
            Side(name="DBOS direct", module=dbos, arguments=given(4, direct=True), python=python),
            Side(name="procrastinate", module=procrastinate, arguments=given(4), python=python),
        ],
        rounds,
    )
    ours = found["ours"]["seconds"] * 1000
    rows = [Row(subject="one run at a time, publish → stored result: median", measured=ours, unit="ms", bound=15)]
    compared = (
        ("… against a queue read every 100 ms, as above", 0.3, "DBOS", "DBOS"),
        ("… against a queue read every 10 ms", None, "DBOS, 10 ms", "DBOS"),
        ("… against a queue read every second", None, "DBOS, 1 s", "DBOS, as it comes"),
        ("… in one process without a queue", None, "DBOS direct", "DBOS, started directly"),
        ("… against a job", None, "procrastinate", "procrastinate"),
    )
    return rows + [
        Row(
            subject=subject,
            measured=ours,
            unit="ms",
            bound=bound,
            of_ratio=True,
            peer=found[side]["seconds"] * 1000,
            peer_name=name,
        )
        for subject, bound, side, name in compared
    ]
