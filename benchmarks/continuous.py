"""500 continuous agents that live: the runner's memory, and queues that hold nothing."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

AGENTS = 500
MEGABYTE = 1_000_000


def measure(servers: Servers, *, rounds: int = 3, agents: int = AGENTS, events: int = 4) -> list[Row]:
    def given() -> Mapping[str, object]:
        return {**servers.fresh(), "agents": agents, "events": events}

    found = alternate([Side(name="ours", module="benchmarks.sides.continuous", arguments=given)], rounds)["ours"]
    return [
        Row(
            subject=f"{agents} continuous agents live: resident memory of the runner",
            measured=found["resident"] / MEGABYTE,
            unit="MB",
            bound=250,
        ),
        Row(subject="… messages left in any queue of the broker", measured=found["left"], unit="", bound=0),
        Row(subject="… events applied a second, each agent's in order", measured=found["rate"], unit="/s"),
    ]
