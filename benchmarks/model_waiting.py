"""Runs that wait for a slow model, 200 of them in one worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.model_server import model_server
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

MODULE = "benchmarks.sides.model_waiting"
MEGABYTE = 1_000_000
RUNS, WAIT_SECONDS = 200, 2.0
FORMS = {"a pool": "in one pool's process", "embedded": "the embedded system"}


def measure(servers: Servers | None, *, rounds: int = 3, count: int = RUNS) -> list[Row]:
    """Without servers the embedded form alone."""
    with model_server() as url:
        given = {"url": url, "count": count, "wait_seconds": WAIT_SECONDS}
        sides = [Side(name="embedded", module=MODULE, arguments=lambda: given)]
        if servers is not None:
            sides.insert(0, Side(name="a pool", module=MODULE, arguments=_with(servers, given)))
        found = alternate(sides, rounds)
    rows = []
    for name, figures in found.items():
        rows += [
            Row(
                subject=f"{count} runs on a model that takes {WAIT_SECONDS:g} s, {FORMS[name]}: all ended",
                measured=figures["seconds"],
                unit="s",
                bound=2.6,
                peer=WAIT_SECONDS,
                peer_name="the ideal",
            ),
            Row(subject="… its resident memory", measured=figures["resident"] / MEGABYTE, unit="MB", bound=300),
        ]
    return rows


def _with(servers: Servers, given: Mapping[str, object]) -> Callable[[], Mapping[str, object]]:
    return lambda: {**servers.fresh(), **given}
