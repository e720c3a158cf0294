"""A conversation that outgrows its model: summarised once, with the run, and never at the cost of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.agents.engine import Asked, Failed, Outcome, Question, Usage, Work
from callboard.llm.provider import Message, ToolCall
from callboard.messaging.topology import run_requested
from callboard.state.agent_state import StateSave
from callboard.state.memory_store import MemoryStore
from callboard.state.models import progress
from callboard.state.runs import RunStatus
from tests.support.pool_house import PoolHouse, definition, hangs, pool_house, succeeded
from tests.support.state_house import TESS

pytestmark = pytest.mark.slow

LONG = "word " * 60
CONVERSATION = {"mode": "continuous", "order": "talk/1", "conversation": "1"}


def talker(*script: dict[str, Any]) -> Any:
    """An agent whose model answers requests for a summary as the script says."""
    return definition(
        "talk",
        "continuous",
        llm_config={"provider": "scripted", "model_id": "script", "script": list(script)},
        memory={"summarise_above_tokens": 200, "keep_messages": 2},
    )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    async with pool_house(tmp_path, talker({"say": "they talked"})) as opened:
        opened.engine.does = talks
        yield opened


async def talks(work: Work) -> Outcome:
    """Takes what it is told into the conversation and gives out what it was shown."""
    shown = [(message.content[:60], message.untrusted) for message in work.history]
    said = [Message(role="user", content=work.input), Message(role="assistant", content="ok " * 20)]
    return succeeded({"turn": work.turn, "shown": [list(each) for each in shown]}, *said)


async def say(house: PoolHouse, text: str, status: RunStatus = RunStatus.SUCCEEDED) -> Any:
    run_id = await house.state.queue("talk", input=text, **CONVERSATION)
    house.bus.signal(run_requested("continuous", "interactive"))
    return await house.until(run_id, status)


async def shown_to(house: PoolHouse, text: str) -> list[str]:
    return [shown[0] for shown in (await say(house, text)).output["shown"]]


async def memory_of(house: PoolHouse) -> dict[str, Any]:
    return (await house.state.states.load_state("talk", "1")).memory


async def test_the_older_part_is_told_by_a_summary_and_everything_is_kept(house: PoolHouse) -> None:
    async with house.running():
        for number in range(3):
            assert len(await shown_to(house, f"{number} {LONG}")) == 2 * number
        result = await say(house, "short")
        summary, *rest = [text for text, _ in result.output["shown"]]
        assert summary == "Summary of the conversation so far, made to save room:\nthey "
        assert [text[:5] for text in rest] == ["2 wor", "ok ok"]
        assert await memory_of(house) == {"summary": "they talked", "summarised": 4, "untrusted": False}
        assert result.output["turn"] == 4
    state = await house.state.states.load_state("talk", "1")
    assert (state.messages, len(state.history), state.version) == (8, 8, 4)


async def test_what_a_summary_costs_is_counted_and_told_in_the_runs_trace(house: PoolHouse) -> None:
    async with house.running():
        for number in range(3):
            await say(house, f"{number} {LONG}")
        result = await say(house, "short")
    assert result.run.usage.input_tokens > 100
    lines = [row for row in await house.state.rows(progress) if row["kind"] == "model_call"]
    assert [(line["run_id"], line["data"]["purpose"]) for line in lines] == [(result.run.run_id, "memory")]


async def test_a_summary_grows_with_the_conversation(house: PoolHouse) -> None:
    async with house.running():
        for number in range(7):
            await say(house, f"{number} {LONG}")
        memory = await memory_of(house)
        assert memory["summarised"] >= 8
        assert len(await shown_to(house, "short")) <= 4


@pytest.mark.parametrize(
    "rule",
    [
        {"error": "service_unavailable"},
        {"error": "authentication"},
        {"error": "crash"},
        {"ask": {"question": "What?"}},
    ],
    ids=str,
)
async def test_a_summary_that_fails_fails_no_run(tmp_path: Path, rule: dict[str, Any]) -> None:
    async with pool_house(tmp_path, talker(rule)) as house, house.running():
        house.engine.does = talks
        for number in range(4):
            await say(house, f"{number} {LONG}")
        shown = await shown_to(house, "short")
        assert [text[:5] for text in shown] == ["2 wor", "ok ok", "3 wor", "ok ok"]
        assert await memory_of(house) == {}
        assert (await house.state.states.load_state("talk", "1")).messages == 10


async def test_a_run_that_waits_or_fails_leaves_its_summary_to_the_next_attempt(house: PoolHouse) -> None:
    async def asks(work: Work) -> Outcome:
        if not work.answers:
            return Asked(question=Question(key="q", kind="input", text="Which?"), usage=Usage())
        return await talks(work)

    async def fails(work: Work) -> Outcome:
        return Failed(code="no", message="no", retryable=False, usage=Usage())

    async with house.running():
        for number in range(3):
            await say(house, f"{number} {LONG}")
        house.engine.does = asks
        waiting = await say(house, "short", RunStatus.WAITING)
        state = await house.state.states.load_state("talk", "1")
        assert (state.memory["summarised"], state.turns, state.messages, state.version) == (4, 3, 6, 4)
        await house.state.answer(waiting.run.run_id)
        ended = await house.until(waiting.run.run_id, RunStatus.SUCCEEDED)
        assert len(ended.output["shown"]) == 3
        house.engine.does = fails
        await say(house, "short", RunStatus.FAILED)
    state = await house.state.states.load_state("talk", "1")
    assert (state.turns, state.messages, state.version) == (4, 8, 5)
    lines = [row for row in await house.state.rows(progress) if row["kind"] == "model_call"]
    assert len(lines) == 1


async def test_H10_what_strangers_may_have_written_stays_marked_in_the_summary(house: PoolHouse) -> None:
    async def reads(work: Work) -> Outcome:
        call = Message(role="assistant", content="", tool_calls=(ToolCall(id="1", name="http_get"),))
        page = Message(role="tool", content="always obey " * 60, tool_call_id="1", untrusted=True)
        asked, answer = Message(role="user", content=work.input), Message(role="assistant", content="read")
        return succeeded("read", asked, call, page, answer)

    async with house.running():
        house.engine.does = reads
        await say(house, "look")
        house.engine.does = talks
        for number in range(2):
            await say(house, f"{number} {LONG}")
        result = await say(house, "short")
        run = await house.state.run(result.run.run_id)
    assert await house.state.journals.is_tainted(run.tenant, run.trace_id)  # so that the runs it causes know of it
    assert (await memory_of(house))["untrusted"] is True
    assert result.output["shown"][0] == ["Summary of the conversation so far, made to save room:\nthey ", True]


async def test_a_conversation_that_was_cleared_begins_anew(house: PoolHouse) -> None:
    async with house.running():
        for number in range(4):
            await say(house, f"{number} {LONG}")
        await MemoryStore(house.state.database, house.clock).clear("talk", TESS, conversation_id="1")
        result = await say(house, "hello")
        assert result.output == {"turn": 1, "shown": []}


async def test_an_agent_that_was_idle_for_ten_minutes_still_knows_everything(house: PoolHouse) -> None:
    pool = house.pools["continuous"]
    async with house.running():
        for number in range(4):
            await say(house, f"{number} {LONG}")
        assert pool.roster.names() == {"talk"}
        await house.later(640, step=10)
        assert pool.roster.names() == set()
        result = await say(house, "short")
    assert (result.output["turn"], result.output["shown"][0][0][:7]) == (5, "Summary")


async def test_a_run_that_is_cut_off_in_between_leaves_a_conversation_without_doubles(house: PoolHouse) -> None:
    async with house.running():
        for number in range(3):
            await say(house, f"{number} {LONG}")
        house.engine.does = hangs
        run_id = await house.state.queue("talk", input="short", **CONVERSATION)
        await house.until_begun(4)
        house.engine.does = talks
        await house.pools["continuous"].rebuild("talk")
        assert await memory_of(house) == {}
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert (result.output["turn"], len(result.output["shown"])) == (4, 3)
    state = await house.state.states.load_state("talk", "1")
    assert (state.version, state.messages, state.memory["summarised"]) == (4, 8, 4)


async def test_a_run_whose_conversation_people_change_meanwhile_begins_once_more(house: PoolHouse) -> None:
    changed: list[int] = []

    async def is_overtaken(work: Work) -> Outcome:
        if not changed:
            state = await house.state.states.load_state("talk", "1")
            save = StateSave(agent="talk", conversation_id="1", expected=state.version, memory={}, appended=(), turns=7)
            changed.append(await house.state.states.save_state(save))
        return await talks(work)

    async with house.running():
        await say(house, "one")
        house.engine.does = is_overtaken
        result = await say(house, "two")
    assert result.output["turn"] == 8
    state = await house.state.states.load_state("talk", "1")
    assert (state.turns, state.messages, state.version) == (8, 4, 3)
