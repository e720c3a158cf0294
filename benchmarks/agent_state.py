"""What an agent remembers: saving it whole and loading it from the cache, small and large."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.peer_environment import peer_python
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

SMALL_BYTES = 2 * 1024
LARGE_BYTES = 2 * 1024 * 1024
PEER = "AsyncPostgresSaver"


def measure(servers: Servers, *, rounds: int = 5, count: int = 300) -> list[Row]:
    small = _both(servers, rounds, SMALL_BYTES, count)
    large = _both(servers, rounds, LARGE_BYTES, max(1, count // 10))
    return [
        _row("state of 2 KiB: save", small, "save", 1),
        _row("… load from the cache", small, "load", 0.3),
        _row("state of 2 MiB: full save", large, "save", 0.5),
        _row("… load from the cache", large, "load", None),
    ]


def _both(servers: Servers, rounds: int, size: int, count: int) -> Mapping[str, Mapping[str, float]]:
    given: Callable[[], Mapping[str, object]] = lambda: {**servers.fresh(), "state_bytes": size, "count": count}  # noqa: E731
    peer = "benchmarks.peers.langgraph_state"
    return alternate(
        [
            Side(name="ours", module="benchmarks.sides.state", arguments=given),
            Side(name=PEER, module=peer, arguments=given, python=peer_python()),
        ],
        rounds,
    )


def _row(subject: str, found: Mapping[str, Mapping[str, float]], figure: str, bound: float | None) -> Row:
    return Row(
        subject=subject,
        measured=found["ours"][figure] * 1000,
        unit="ms",
        bound=bound,
        of_ratio=True,
        peer=found[PEER][figure] * 1000,
        peer_name=PEER,
    )
