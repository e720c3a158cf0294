"""Whole runs that ask a model over HTTP, beside agents that keep nothing: processor time, without the server's.

Ours is the whole embedded system: an event is accepted, becomes a run, is claimed, asks the model, is settled, and its
end is told; each of its tool calls is in the ledger before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.model_server import model_server
from benchmarks.peer_environment import peer_python
from benchmarks.rounds import Figures, Side, alternate
from benchmarks.table import Row

IN_FLIGHT = 32
FEW, MANY = 1, 11
"""Calls in one answer of the model: what the second has more, divided by how many more it has."""
OURS, PYDANTIC_AI, OPENAI_AGENTS = "ours", "pydantic-ai", "openai-agents"


def measure(folder: Path, *, rounds: int = 3, count: int = 640, peers: bool = True) -> list[Row]:
    """One model call a run."""
    with model_server() as url:
        sides = {
            name: {"url": url, "text": "answer", "count": share, "in_flight": in_flight, "streamed": streamed}
            for name, in_flight, streamed, share in (
                ("", IN_FLIGHT, False, count),
                (", streamed", IN_FLIGHT, True, count),
                (", alone", 1, False, max(4, count // 4)),
            )
        }
        found = _compared(sides, rounds, peers=peers)
    crowded, streamed, alone = (_cpu(found, name) for name in sides)
    return [
        *_against("a run with one model call, 32 in flight: CPU", crowded, {PYDANTIC_AI: 0.5, OPENAI_AGENTS: 0.9}),
        *_against("… its answer streamed", streamed, {PYDANTIC_AI: None, OPENAI_AGENTS: None}),
        *_against("… one run at a time", alone, {PYDANTIC_AI: None, OPENAI_AGENTS: None}),
    ]


def measure_tools(folder: Path, *, rounds: int = 3, count: int = 320, peers: bool = True) -> list[Row]:
    """Tool calls of one answer; then each in an answer of its own, which is a model call more."""
    with model_server() as url:
        sides = {
            f"{verb} {number}, {in_flight}": {
                "url": url,
                "text": f"{verb} {number}",
                "count": max(in_flight, count if in_flight > 1 else count // 4),
                "in_flight": in_flight,
                "tools": True,
            }
            for in_flight in (IN_FLIGHT, 1)
            for verb, number in (("calls", FEW), ("calls", MANY), ("turns", MANY))
        }
        found = _compared(sides, rounds, peers=peers)

    def added(figure: str, verb: str, in_flight: int) -> dict[str, float]:
        less, more = f"calls {FEW}, {in_flight}", f"{verb} {MANY}, {in_flight}"
        return {
            side: (figures[more][figure] - figures[less][figure]) / (MANY - FEW) * 1000
            for side, figures in found.items()
        }

    none: Mapping[str, float | None] = {PYDANTIC_AI: None, OPENAI_AGENTS: None}
    return [
        *_against("a tool call adds, 32 in flight: CPU", added("cpu", "calls", IN_FLIGHT), none, bound=2),
        *_against("… one run at a time: CPU", added("cpu", "calls", 1), none, bound=2),
        *_against("… one run at a time: time", added("seconds", "calls", 1), none, bound=2),
        *_against("… with the model call that asks for it: CPU", added("cpu", "turns", IN_FLIGHT), none),
    ]


def _compared(sides: Mapping[str, Mapping[str, object]], rounds: int, *, peers: bool) -> dict[str, dict[str, Figures]]:
    """By side and by the name of what was asked."""
    found: dict[str, dict[str, Figures]] = {}
    for name, given in sides.items():
        for side, figures in alternate(_sides(given, peers=peers), rounds).items():
            found.setdefault(side, {})[name] = figures
    return found


def _sides(given: Mapping[str, object], *, peers: bool) -> list[Side]:
    ours = Side(name=OURS, module="benchmarks.sides.model_runs", arguments=lambda: given)
    if not peers:
        return [ours]
    return [
        ours,
        # pydantic-ai is installed here: its model layer is what we use ourselves.
        Side(name=PYDANTIC_AI, module="benchmarks.peers.pydantic_ai_runs", arguments=lambda: given),
        Side(
            name=OPENAI_AGENTS,
            module="benchmarks.peers.openai_agents_runs",
            arguments=lambda: given,
            python=peer_python(),
        ),
    ]


def _cpu(found: Mapping[str, Mapping[str, Figures]], name: str) -> dict[str, float]:
    return {side: figures[name]["cpu"] * 1000 for side, figures in found.items()}


def _against(
    subject: str, found: Mapping[str, float], bounds: Mapping[str, float | None], *, bound: float | None = None
) -> list[Row]:
    """A row for each peer, or one alone; `bounds` are of the ratio, `bound` is of what is measured."""
    ours = found[OURS]
    peers = [name for name in bounds if name in found]
    if not peers:
        return [Row(subject=subject, measured=ours, unit="ms", bound=bound)]
    return [
        Row(
            subject=subject if name == peers[0] else "…",
            measured=ours,
            unit="ms",
            bound=bound if bound is not None else bounds[name],
            of_ratio=bound is None,
            peer=found[name],
            peer_name=name,
        )
        for name in peers
    ]
