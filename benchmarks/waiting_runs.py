"""Runs that wait: 500 of 2 s at once in one pool's process, pool processes that are added, and a model that is slow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import model_waiting
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

MODULE = "benchmarks.sides.waiting"
MEGABYTE = 1_000_000
AT_ONCE, WAIT_SECONDS = 500, 2.0
SLOTS, SHORT_WAIT_SECONDS = 10, 0.02


def measure(servers: Servers, *, rounds: int = 3, waves: int = 8, count: int = 3000) -> list[Row]:
    return [
        *_at_once(servers, rounds, waves),
        _scaled(servers, rounds, count),
        *model_waiting.measure(servers, rounds=rounds),
    ]


def _at_once(servers: Servers, rounds: int, waves: int) -> list[Row]:
    given = _given(servers, pools=1, slots=AT_ONCE, wait_seconds=WAIT_SECONDS, count=AT_ONCE * waves, in_flight=None)
    found = alternate([Side(name="ours", module=MODULE, arguments=given)], rounds)["ours"]
    return [
        Row(
            subject=f"{AT_ONCE} runs of {WAIT_SECONDS:g} s at once in one process: runs",
            measured=found["rate"],
            unit="/s",
            bound=0.9,
            floor=True,
            of_ratio=True,
            peer=AT_ONCE / WAIT_SECONDS,
            peer_name="the ideal",
        ),
        Row(
            subject="… its resident memory, largest",
            measured=found["resident"] / MEGABYTE,
            unit="MB",
            bound=200,
        ),
    ]


def _scaled(servers: Servers, rounds: int, count: int) -> Row:
    def given(pools: int) -> Callable[[], Mapping[str, object]]:
        return _given(
            servers,
            pools=pools,
            slots=SLOTS,
            wait_seconds=SHORT_WAIT_SECONDS,
            count=count * (1 + pools) // 2,
            in_flight=300,
        )

    sides = [Side(name=f"{pools} pools", module=MODULE, arguments=given(pools)) for pools in (3, 1)]
    found = alternate(sides, rounds)
    return Row(
        subject="3 pool processes, 10 slots each, 20 ms of waiting a run",
        measured=found["3 pools"]["rate"],
        unit="/s",
        bound=2.2,
        floor=True,
        of_ratio=True,
        peer=found["1 pools"]["rate"],
        peer_name="1 process",
    )


def _given(servers: Servers, **more: object) -> Callable[[], Mapping[str, object]]:
    return lambda: {**servers.fresh(), **more}
