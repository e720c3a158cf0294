"""The records that replays are made from: a run begun without routing, a conversation as it was, a family, notes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callboard.ids import derive_id
from callboard.messaging.events import EventType
from callboard.state.agent_state import StateSave
from callboard.state.effects import EffectDraft, EffectStatus
from callboard.state.finishing import ChildDraft, ProgressDraft
from callboard.state.journal_store import Checkpoint
from callboard.state.replay_store import ReplayStore
from callboard.state.replays import Variant
from callboard.state.runs import Admission, Lane, Run, RunDraft, RunStatus
from tests.support.state_house import TESS, StateHouse, claim_of


def replay_of(house: StateHouse, origin: Run, number: int = 1, **parts: Any) -> ChildDraft:
    event = replace(
        house.event(origin.agent, dry=True),
        event_id=derive_id("replay", origin.run_id, number),
        trace_id=origin.trace_id,
        causation_id=origin.event_id,
    )
    run = RunDraft(
        run_id=derive_id("run", event.event_id, origin.agent),
        event_id=event.event_id,
        trace_id=origin.trace_id,
        tenant=origin.tenant,
        agent=origin.agent,
        agent_version=1,
        catalog=1,
        mode=origin.mode,
        admission=Admission(lane=Lane.INTERACTIVE, rank=2),
        max_attempts=1,
        timeout_seconds=10.0,
        actor=TESS,
        input="hello",
        origin_run_id=origin.run_id,
        dry=True,
        variant=Variant(origin=origin.run_id, agent_version=2, model="scripted/echo"),
    )
    return ChildDraft(event=event, run=replace(run, **parts))


async def test_I13_a_replay_that_is_begun_twice_is_one_run_and_is_routed_to_nobody(house: StateHouse) -> None:
    origin = await house.start()
    await house.settle(origin, output="x")
    await house.route()
    draft = replay_of(
        house, origin, admission=Admission(lane=Lane.INTERACTIVE, rank=2, place_key="agent:echo", places=1)
    )
    await house.store.begin_run(draft)
    await house.store.begin_run(draft)
    assert (await house.route()).events == 0
    (claimed,) = await house.claim()
    run = claimed.run
    assert (run.run_id, run.dry, run.origin_run_id, claimed.input) == (draft.run.run_id, True, origin.run_id, "hello")
    assert run.variant == Variant(origin=origin.run_id, agent_version=2, model="scripted/echo")
    assert run.variant.of_child() == Variant(origin=origin.run_id, model="scripted/echo")
    stored = await house.queries.event(draft.event.event_id)
    assert stored is not None
    assert stored.event.causation_id == origin.event_id


async def test_the_end_of_a_dry_run_is_told_as_that_and_gives_nothing_out(house: StateHouse) -> None:
    for mode in ("autonomous", "continuous", "collaborative"):
        origin = await house.start(mode=mode)
        await house.settle(origin, output="in earnest")
        house.announced.events.clear()
        await house.store.begin_run(replay_of(house, origin))
        (claimed,) = await house.claim(mode=mode)
        await house.settle(claimed.run, output="rehearsed")
        told = [event for event in house.announced.events if event.event_type != EventType.API_INVOKE]
        assert [(event.topic, event.payload["dry"]) for event in told] == [("run.succeeded.echo", True)]


async def test_a_conversation_is_shown_as_it_was_when_the_run_began(house: StateHouse) -> None:
    replays = ReplayStore(house.database)
    runs = []
    for turn in range(3):
        run = await house.start("keeper", mode="continuous", order="keeper/c")
        save = StateSave(
            agent="keeper",
            conversation_id="c",
            expected=turn,
            memory={},
            appended=(f"asked {turn}", f"said {turn}"),
            turns=turn + 1,
            run_id=run.run_id,
            fencing=run.fencing,
        )
        await house.settle(run, output="x", state=save)
        runs.append(run)
        await house.clock.advance(10.0)
    seen = [await replays.conversation_before(run, "c", 10) for run in runs]
    assert [(state.turns, state.messages, len(state.history)) for state in seen] == [(0, 0, 0), (1, 2, 2), (2, 4, 4)]
    assert seen[2].history == ("asked 0", "said 0", "asked 1", "said 1")
    assert (await replays.conversation_before(runs[2], "c", 1)).history == ("said 1",)
    assert (await replays.conversation_before(runs[2], "another", 10)).messages == 0
    left_nothing = replace(runs[1], run_id="f" * 32)
    assert (await replays.conversation_before(left_nothing, "c", 10)).turns == 1


async def test_a_family_its_notes_and_its_ledger(house: StateHouse) -> None:
    replays = ReplayStore(house.database)
    run = await house.start(mode="collaborative")
    children = tuple(
        replay_of(
            house,
            run,
            number,
            parent_run_id=run.run_id,
            root_run_id=run.run_id,
            step_id=f"s{number}",
            mode="autonomous",
        )
        for number in (1, 2)
    )
    await house.settle(run, RunStatus.WAITING, children=children)
    first = (await house.claim())[0].run
    grandchild = replay_of(house, first, 3, parent_run_id=first.run_id, root_run_id=run.run_id, step_id="deep")
    await house.settle(first, RunStatus.WAITING, children=(grandchild,))
    other = await house.start()
    family = [found.run.step_id for found in await replays.family(run.run_id)]
    assert sorted(step or "" for step in family) == ["", "deep", "s1", "s2"]
    assert [found.run.step_id for found in await replays.family(first.run_id)] == [first.step_id, "deep"]

    draft = EffectDraft(key="/0/0", tool="page", digest="d", idempotent=True)
    lines = tuple(
        ProgressDraft(kind=kind, data={"key": key})
        for kind, key in (("would_do", "/0/0"), ("recorded", "/0/1"), ("x", "/9"))
    )
    await house.journals.end_effect(
        claim_of(other), draft, EffectStatus.DONE, "r", Checkpoint(messages=({"role": "tool"},), progress=lines)
    )
    assert [(line.kind, line.data["key"]) for line in await replays.lines([other.run_id], ("would_do",))] == [
        ("would_do", "/0/0"),
    ]  # fmt: skip
    assert await replays.keys(other.run_id, ("would_do", "recorded")) == {"/0/0", "/0/1"}
    (effect,) = await replays.effects(other.run_id, 0)
    assert (effect.key, effect.status, effect.result) == ("/0/0", EffectStatus.DONE, "r")
    assert await replays.effects(other.run_id, 1) == []
    assert list(await replays.entries(other.run_id, 0)) == [{"role": "tool"}]


async def test_H2_a_rehearsal_knows_only_what_it_was_shown_itself(house: StateHouse) -> None:
    origin = await house.start()
    read = Checkpoint(messages=({"role": "tool"},), tainted=True)
    await house.journals.append(claim_of(origin), read)
    await house.store.begin_run(replay_of(house, origin))
    (claimed,) = await house.claim()
    replay = claimed.run

    async def knows(dry_root: str | None) -> bool:
        return await house.journals.is_tainted(origin.tenant, origin.trace_id, dry_root=dry_root)

    assert (await knows(None), await knows(replay.run_id)) == (True, False)
    await house.journals.append(claim_of(replay), read)
    assert await knows(replay.run_id)
    clean = await house.start()
    await house.store.begin_run(replay_of(house, clean))
    (claimed,) = await house.claim()
    await house.journals.append(claim_of(claimed.run), read)
    assert not await house.journals.is_tainted(clean.tenant, clean.trace_id)
