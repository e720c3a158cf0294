"""The invariants I1 to I6 over everything that the database holds and what a driver has written down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from callboard.ids import derive_id
from callboard.state.models import deliveries, effects, events, run_messages, runs
from callboard.state.runs import TRANSITIONS, RunStatus
from tests.faults.run_driver import STEPS, Ledger
from tests.support.state_house import StateHouse

Row = Mapping[str, Any]
ACTIVE = ("queued", "running", "waiting")


def _reachable() -> dict[RunStatus, set[RunStatus]]:
    """What a run may be later, over any number of steps of the transition table."""
    found = {status: {status} for status in RunStatus}
    for _ in RunStatus:
        for known in found.values():
            known.update(*(TRANSITIONS[status] for status in tuple(known)))
    return found


REACHABLE = _reachable()


class Watcher:
    """Looks at the runs after each tick and compares them with the last look."""

    def __init__(self, house: StateHouse) -> None:
        self._house = house
        self._before: dict[str, Row] = {}

    async def look(self) -> None:
        rows = await self._house.rows(runs)
        now: dict[str, Row] = {row["run_id"]: row for row in rows}
        assert self._before.keys() <= now.keys(), "a run has vanished"
        for run_id, row in now.items():
            self._check_monotonic(self._before.get(run_id, row), row)
            self._check_shape(row)
        self._check_turns(rows)
        self._check_places(rows)
        self._before = now

    @staticmethod
    def _check_monotonic(before: Row, after: Row) -> None:
        """I6."""
        assert RunStatus(after["status"]) in REACHABLE[RunStatus(before["status"])], (before, after)
        for number in ("attempt", "fencing", "failures", "context_no", "lease_losses"):
            assert after[number] >= before[number], (number, before, after)
        if RunStatus(before["status"]).terminal:
            assert after == before

    @staticmethod
    def _check_shape(row: Row) -> None:
        status = RunStatus(row["status"])
        assert (row["owner"] is not None) == (status is RunStatus.RUNNING), row
        assert (row["finished_at"] is not None) == status.terminal, row
        assert (row["waiting_kind"] is not None) == (status is RunStatus.WAITING), row
        if status is RunStatus.QUEUED:
            assert row["ready"] == (row["has_turn"] and row["has_place"]), row

    @staticmethod
    def _check_turns(rows: Sequence[Row]) -> None:
        """I4: of a key one run is under way, the first in line, and somebody always has the turn."""
        lines: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["order_key"] is not None and row["status"] in ACTIVE:
                lines[row["order_key"]].append(row)
        for line in lines.values():
            first, *rest = sorted(line, key=lambda row: int(row["key_seq"]))
            assert first["has_turn"], first
            for row in rest:
                assert not row["has_turn"], (first, row)
                assert (row["status"], row["fencing"]) == ("queued", 0), (first, row)

    @staticmethod
    def _check_places(rows: Sequence[Row]) -> None:
        """No more than the limit, and nobody waits while a place is free."""
        lines: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["place_key"] is not None and row["status"] in ("queued", "running"):
                lines[row["place_key"]].append(row)
        for line in lines.values():
            taken = [row for row in line if row["has_place"]]
            assert all(row["has_place"] for row in line if row["status"] == "running"), line
            assert len(taken) == min(len([row for row in line if row["has_turn"]]), line[0]["places"]), line


async def check_at_the_end(house: StateHouse, ledger: Ledger) -> None:
    rows = await house.rows(runs)
    _check_no_loss(rows, ledger)
    _check_no_ghost(rows, ledger)
    await _check_order(house, rows)
    await _check_effects(house, ledger)
    await _check_messages(house, rows)
    assert not [row for row in await house.rows(events) if row["routed_at"] is None]


def _check_no_loss(rows: Sequence[Row], ledger: Ledger) -> None:
    """I1: each accepted event has exactly one run for each matching agent, and each is at its end."""
    wanted = {
        derive_id("run", event.event_id, agent)
        for event in ledger.accepted.values()
        for agent in event.payload["agents"]
    }
    asked_for = [row["run_id"] for row in rows if row["parent_run_id"] is None]
    assert sorted(asked_for) == sorted(wanted)
    assert all(RunStatus(row["status"]).terminal for row in rows)
    steps: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["parent_run_id"] is not None:
            steps[row["parent_run_id"]].append(row["step_id"])
    assert all(sorted(names) == sorted(STEPS) for names in steps.values())


def _check_no_ghost(rows: Sequence[Row], ledger: Ledger) -> None:
    """I3: what was cancelled ends as cancelled and is never begun; nobody wrote after its claim was gone."""
    statuses = {row["run_id"]: row["status"] for row in rows}
    assert {run_id: statuses[run_id] for run_id in ledger.cancelled} == dict.fromkeys(ledger.cancelled, "cancelled")
    assert ledger.claimed_after_cancel == []
    assert ledger.zombie_writes == []
    assert set(ledger.succeeded.values()) <= {1}
    assert set(ledger.succeeded) == {run_id for run_id, status in statuses.items() if status == "succeeded"}


async def _check_order(house: StateHouse, rows: Sequence[Row]) -> None:
    """I4: a conversation remembers exactly its successful runs, in intake order, one version each."""
    intake = {row["event_id"]: row["seq"] for row in await house.rows(events)}
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["order_key"] is not None:
            lines[row["conversation_id"]].append(row)
    for conversation, line in lines.items():
        line.sort(key=lambda row: int(row["key_seq"]))
        seqs = [intake[row["event_id"]] for row in line]
        assert seqs == sorted(seqs)
        state = await house.states.load_state("talk", conversation, newest=100_000)
        assert list(state.history) == [row["run_id"] for row in line if row["status"] == "succeeded"]
        assert state.version == state.turns == len(state.history)


async def _check_effects(house: StateHouse, ledger: Ledger) -> None:
    """I2: under one key the world was changed once at most."""
    doubled = {key: count for key, count in ledger.effects.items() if count > 1}
    assert not doubled
    done = [row for row in await house.rows(effects) if row["status"] == "done"]
    assert all(ledger.effects[row["run_id"], row["key"]] == 1 for row in done)


async def _check_messages(house: StateHouse, rows: Sequence[Row]) -> None:
    """I2: one answer for each run that somebody waits for; nothing of a zombie in any checkpoint (I5 of one run)."""
    owed = [row["run_id"] for row in await house.rows(deliveries) if row["kind"] in ("result", "failure")]
    assert sorted(owed) == sorted(row["run_id"] for row in rows if row["parent_run_id"] is None)
    assert not [row for row in await house.rows(run_messages) if b"zombie" in row["message"]]
