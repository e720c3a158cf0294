"""A run that is killed or frozen and resumed elsewhere: nothing that happened happens again."""

from __future__ import annotations

import contextlib

import pytest

from callboard.agents.engine import Asked, Succeeded
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.errors import FencedError
from callboard.llm.provider import ToolCall
from callboard.llm.script import ScriptAsk, ScriptCall, ScriptRule
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import KilledError, Ledger, MemoryJournal

SEND = ScriptRule(call=ScriptCall(tool="send", args={"text": "a"}), say="Got {result}")
LOOKUP_ASK_SEND = says(
    "",
    ToolCall(id="1", name="lookup", arguments={"text": "a"}),
    ToolCall(id="2", name="ask_human", arguments={"question": "Really?", "kind": "confirmation"}),
    ToolCall(id="3", name="send", arguments={"text": "b"}),
)


@pytest.mark.parametrize("writes", range(8))
async def test_C8_killed_before_any_write_the_effect_happens_once_or_a_person_is_asked(writes: int) -> None:
    ledger, send, lookup = Ledger(fail_after_writes=writes), Counter(), Counter(name="lookup", idempotent=True)
    answers = {"ask//0/1": True}
    first = ModelOf(LOOKUP_ASK_SEND, says("end"))
    with contextlib.suppress(KilledError):
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), first, tools=[send, lookup], answers=answers))
    ledger.fail_after_writes = None
    second = ModelOf(*([LOOKUP_ASK_SEND] if not ledger.messages else []), says("end"))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), second, tools=[send, lookup], answers=answers))
    assert len(send.calls) <= 1
    if isinstance(outcome, Asked):
        assert "not known whether send" in outcome.question.text
        assert len(send.calls) == 1
    else:
        assert isinstance(outcome, Succeeded)
        assert [message.content for message in outcome.messages[2:]] == ["sent", "yes", "sent", "end"]


async def test_a_finished_effect_is_replayed_without_calling_the_tool() -> None:
    ledger, send = Ledger(), Counter()
    model = ModelOf(calls("send", text="a"), RuntimeError("the machine burns"))
    with pytest.raises(RuntimeError):
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), model, tools=[send]))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "Got sent"
    assert len(send.calls) == 1


async def _killed_during_the_call(ledger: Ledger, send: Counter) -> None:
    ledger.fail_after_writes = ledger.writes + (2 if not ledger.messages else 1)
    with pytest.raises(KilledError):
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    ledger.fail_after_writes = None


async def test_an_unknown_effect_is_repeated_only_when_a_person_says_so() -> None:
    ledger, send = Ledger(), Counter()
    await _killed_during_the_call(ledger, send)
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    assert isinstance(asked, Asked)
    assert asked.question.kind == "confirmation"
    assert '{"text": "a"}' in asked.question.text
    answers = {asked.question.key: True}
    ended = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send], answers=answers))
    assert isinstance(ended, Succeeded)
    assert len(send.calls) == 2
    assert len(set(send.keys)) == 1, "the repetition carries the same idempotency key"


async def test_an_unknown_effect_that_is_not_repeated_is_told_to_the_model() -> None:
    ledger, send = Ledger(), Counter()
    await _killed_during_the_call(ledger, send)
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    assert isinstance(asked, Asked)
    answers = {asked.question.key: False}
    ended = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send], answers=answers))
    assert isinstance(ended, Succeeded)
    assert "a person decided not to repeat it" in str(ended.output)
    assert len(send.calls) == 1


async def test_a_yes_is_good_for_one_repetition_only() -> None:
    ledger, send = Ledger(), Counter()
    await _killed_during_the_call(ledger, send)
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    assert isinstance(asked, Asked)
    answers = {asked.question.key: True}
    ledger.fail_after_writes = ledger.writes + 2
    with pytest.raises(KilledError):
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send], answers=answers))
    ledger.fail_after_writes = None
    assert len(send.calls) == 2
    again = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send], answers=answers))
    assert isinstance(again, Asked)
    assert again.question.key != asked.question.key
    assert len(send.calls) == 2


@pytest.mark.parametrize("how", ["unknown", "hang"])
async def test_a_call_whose_end_was_not_seen_is_a_question_not_a_failure(how: str) -> None:
    ledger, send = Ledger(), Counter(fails=[how])
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    assert isinstance(asked, Asked)
    answers = {asked.question.key: True}
    ended = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send], answers=answers))
    assert isinstance(ended, Succeeded)
    assert len(send.calls) == 2


async def test_an_idempotent_tool_is_called_again_without_asking() -> None:
    ledger, send = Ledger(fail_after_writes=1), Counter(idempotent=True)
    with pytest.raises(KilledError):
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    ledger.fail_after_writes = None
    ended = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [SEND], tools=[send]))
    assert isinstance(ended, Succeeded)
    assert len(send.calls) == 2
    assert [status for _, status, _, _ in ledger.effects.values()] == ["done"]


async def test_C10_an_owner_that_lost_the_run_starts_no_effect() -> None:
    ledger, send = Ledger(), Counter()
    zombie = MemoryJournal(ledger)
    MemoryJournal(ledger)
    with pytest.raises(FencedError):
        await ToolLoopEngine().execute(work(zombie, [SEND], tools=[send]))
    assert send.calls == []


async def test_a_killed_question_is_asked_under_the_same_key() -> None:
    rules = [ScriptRule(ask=ScriptAsk(question="Why?"), say="{answer}")]
    ledger = Ledger(fail_after_writes=0)
    with pytest.raises(KilledError):
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules))
    ledger.fail_after_writes = None
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules))
    assert isinstance(asked, Asked)
    assert asked.question.key == "ask//0/0"
