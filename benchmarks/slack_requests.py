"""From a signed slash command to its 200, durable first: the gateway's row beside a confirmed publish under bolt."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peer_environment import peer_python
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

MODULE = "benchmarks.sides.slack_acks"
GENERATOR_ROOM = 5
"""The generator must reach so many times what it measures."""


def measure(servers: Servers, *, rounds: int = 5, count: int = 6000) -> list[Row]:
    python = peer_python()

    def given(server: str, share: int = 1) -> Mapping[str, object]:
        place = servers.fresh()
        return {**place, "server": server, "count": count // share, "python": str(python), "queue": "benchmark"}

    found = alternate(
        [
            Side(name="ours", module=MODULE, arguments=lambda: given("gateway")),
            Side(name="slack-bolt", module=MODULE, arguments=lambda: given("bolt", 2)),
            Side(name="generator", module=MODULE, arguments=lambda: given("nothing")),
        ],
        rounds,
    )
    ours, peer, most = found["ours"], found["slack-bolt"], found["generator"]["rate"]
    assert most >= GENERATOR_ROOM * ours["rate"], f"the generator makes {most:.0f}/s, which is what was measured"
    name = "slack-bolt, FastAPI, confirmed publish"
    return [
        Row(
            subject="Slack request → 200, 32 connections: requests",
            measured=ours["rate"],
            unit="/s",
            bound=2,
            floor=True,
            of_ratio=True,
            peer=peer["rate"],
            peer_name=name,
        ),
        Row(
            subject="… 99th percentile",
            measured=ours["p99"] * 1000,
            unit="ms",
            bound=0.6,
            of_ratio=True,
            peer=peer["p99"] * 1000,
            peer_name=name,
        ),
        Row(subject="… what the generator reaches against nothing", measured=most, unit="/s"),
    ]
