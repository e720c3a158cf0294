"""Several orchestrators watch the same agents: one silence is one restart, however many of them see it (R30)."""

from __future__ import annotations

import asyncio

import pytest

from callboard.orchestrator.health_watch import HealthWatch
from callboard.state.agent_health import AgentBeat, Availability
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.models import agent_status
from callboard.state.registered_agents import AgentStatus
from tests.support.state_house import TESS, StateHouse


@pytest.fixture
def health(house: StateHouse) -> AgentHealthStore:
    return AgentHealthStore(house.database, house.announced, house.clock, house.ids)


def silent(process: str = "p1", generation: int = 0) -> AgentBeat:
    return AgentBeat(agent="a", process_id=process, active=1, progress=7, generation=generation)


async def test_I3_watchers_that_see_the_same_silence_restart_once(house: StateHouse, health: AgentHealthStore) -> None:
    await health.save_beats([silent()])
    watches = [HealthWatch(health, house.clock, silent_seconds=45) for _ in range(4)]
    for _ in range(12):
        await asyncio.gather(*(watch.look() for watch in watches))
        await house.later(seconds=5)
    assert (await health.statuses())["a"].restarts == 1
    assert house.announced.topics() == ["agent.status.a"]


async def test_I3_a_silence_that_was_acted_on_since_it_was_read_counts_no_more(health: AgentHealthStore) -> None:
    await health.save_beats([silent()])
    [seen] = await health.beats()
    first = await health.want_restart(seen)
    assert first is not None
    assert (first.status, first.restarts) == (AgentStatus.RESTARTING, 1)
    assert await health.want_restart(seen) is None
    await health.save_beats([silent(generation=1)])
    assert await health.want_restart(seen) is None
    [again] = await health.beats()
    second = await health.want_restart(again)
    assert second is not None
    assert second.restarts == 2


async def test_I3_silences_in_several_processes_are_all_counted(health: AgentHealthStore) -> None:
    await health.save_beats([silent("p1"), silent("p2")])
    records = await asyncio.gather(*(health.want_restart(beat) for beat in await health.beats()))
    assert sorted(record.restarts for record in records if record is not None) == [1, 2]
    assert (await health.statuses())["a"].restarts == 2


async def test_an_agent_without_its_key_is_on_record_until_it_has_it(
    house: StateHouse, health: AgentHealthStore
) -> None:
    await health.report_availability(
        "p1", [Availability(agent="a", reason="no key"), Availability(agent="b", reason=None)]
    )
    await health.report_availability("p1", [Availability(agent="a", reason="no key")])
    records = await health.statuses()
    assert {name: (record.status, record.reason) for name, record in records.items()} == {
        "a": (AgentStatus.UNAVAILABLE, "no key")
    }
    await health.report_availability("p1", [Availability(agent="a", reason=None)])
    assert (await health.statuses())["a"].status is AgentStatus.AVAILABLE
    assert house.announced.topics() == ["agent.status.a", "agent.status.a"]


async def status_of(health: AgentHealthStore) -> tuple[AgentStatus, str | None] | None:
    record = (await health.statuses()).get("a")
    return None if record is None else (record.status, record.reason)


AVAILABLE = (AgentStatus.AVAILABLE, None)
CAN, CANNOT = Availability(agent="a", reason=None), Availability(agent="a", reason="no key")


async def test_R30_an_agent_that_one_living_process_can_execute_is_available(
    house: StateHouse, health: AgentHealthStore
) -> None:
    await health.report_availability("p2", [CAN])
    for _ in range(3):
        await health.report_availability("p1", [CANNOT])
    assert await status_of(health) is None
    assert house.announced.topics() == []
    await health.report_availability("p2", [CANNOT])
    assert await status_of(health) == (AgentStatus.UNAVAILABLE, "no key")
    await health.report_availability("p1", [CAN])
    assert await status_of(health) == AVAILABLE
    await health.report_availability("p2", [CANNOT])
    assert await status_of(health) == AVAILABLE
    assert house.announced.topics() == ["agent.status.a"] * 2
    assert set(await health.statuses()) == {"a"}


async def test_R30_the_word_of_a_process_ends_with_it(house: StateHouse, health: AgentHealthStore) -> None:
    for process, word in (("p2", CAN), ("p1", CANNOT)):
        await health.report_availability(process, [word])
    await house.processes.declare_dead(["p2"])
    await health.report_availability("p1", [CANNOT])
    assert await status_of(health) == (AgentStatus.UNAVAILABLE, "no key")
    before = len(await house.rows(agent_status))
    await health.beats()
    assert len(await house.rows(agent_status)) == before - 1
    await house.processes.declare_dead(["p1"])
    await health.beats()
    assert [row["agent"] for row in await house.rows(agent_status)] == ["a"]


async def test_R30_two_that_cannot_for_different_reasons_do_not_contradict_each_other(
    house: StateHouse, health: AgentHealthStore
) -> None:
    for _ in range(3):
        for process in ("p1", "p2"):
            await health.report_availability(process, [Availability(agent="a", reason=f"{process} has no key")])
    assert house.announced.topics() == ["agent.status.a"]


async def test_what_a_person_said_of_an_agent_outlives_a_missing_key(
    house: StateHouse, health: AgentHealthStore
) -> None:
    await health.set_status("a", AgentStatus.PAUSED, TESS, reason="holidays")
    for reason in ("no key", None):
        await health.report_availability("p1", [Availability(agent="a", reason=reason)])
        assert (await health.statuses())["a"].status is AgentStatus.PAUSED
