"""The engine on a stage: nothing leaves, what was recorded is told again, a killed rehearsal goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.engine import Answer, Asked, Handed, HandedResult, Question, Succeeded, Usage, WorkLimits
from callboard.agents.engines.place import call_digest
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.recording import RecordedAnswer, RecordedCall, RecordedTask, Recording, calls_made, topic
from callboard.agents.rehearsal import RehearsingEngine
from callboard.agents.rehearsed_tool import only_reads
from callboard.agents.tools.run_agent import RunAgent
from callboard.agents.tools.tool import ToolTraits
from callboard.config.tool_settings import ToolSettings
from callboard.llm.provider import Message, ToolCall
from callboard.state.effects import EffectRecord, EffectStatus
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import KilledError, Ledger, MemoryJournal

OFTEN = WorkLimits(max_same_call=10)
ASK = ToolSettings.model_validate({"name": "send", "approval": "ask"})


def rehearsing(recording: Recording | None = None) -> RehearsingEngine:
    return RehearsingEngine(ToolLoopEngine(), recording or Recording())


def digest(tool: str, **arguments: Any) -> str:
    return call_digest(ToolCall(id="", name=tool, arguments=arguments))


def lines(journal: MemoryJournal, kind: str) -> list[dict[str, Any]]:
    return [dict(note.data) for note in journal.notes if note.kind == kind]


async def test_an_effect_is_told_and_neither_made_nor_entered_in_the_ledger() -> None:
    ledger, tool = Ledger(), Counter()
    journal = MemoryJournal(ledger)
    model = ModelOf(calls("send", text="hi"), says("done"))
    outcome = await rehearsing().execute(work(journal, model, tools=[tool]))
    assert isinstance(outcome, Succeeded)
    assert (tool.calls, ledger.effects) == ([], {})
    assert ledger.messages[-1].content == 'dry run: not carried out: send with {"text": "hi"}'
    assert lines(journal, "would_do") == [{"key": "/0/0", "tool": "send", "arguments": {"text": "hi"}}]


async def test_a_read_is_made_and_entered() -> None:
    ledger, tool = Ledger(), Counter(idempotent=True)
    model = ModelOf(calls("send", text="hi"), says("done"))
    await rehearsing().execute(work(MemoryJournal(ledger), model, tools=[tool]))
    assert len(tool.calls) == 1
    assert ledger.effects["/0/0"][1] == "done"


@pytest.mark.parametrize(
    ("traits", "idempotent", "reads"),
    [
        (ToolTraits(), True, True),
        (ToolTraits(), False, False),
        (ToolTraits(sends_out=True), True, False),
        (ToolTraits(sends_out=True, only_reads=True), False, True),
        (ToolTraits(only_reads=False), True, False),
    ],
)
def test_what_a_dry_run_may_call(traits: ToolTraits, idempotent: bool, reads: bool) -> None:
    assert only_reads(Counter(traits=traits), idempotent=idempotent) is reads


async def test_the_file_may_say_that_a_call_is_not_to_be_repeated() -> None:
    tool = Counter(idempotent=True)
    said = ToolSettings.model_validate({"name": "send", "idempotent": False})
    model = ModelOf(calls("send", text="hi"), says("done"))
    await rehearsing().execute(work(MemoryJournal(Ledger()), model, tools=[tool], settings=[said]))
    assert tool.calls == []


async def test_recorded_results_come_in_their_order_and_failures_fail_again() -> None:
    same = digest("send", text="hi")
    recording = Recording(
        calls=(
            RecordedCall(digest=same, text="first"),
            RecordedCall(digest=digest("send", text="other"), text="elsewhere"),
            RecordedCall(digest=same, text="the door was shut", failed=True),
        ),
        replays=True,
    )
    ledger, tool = Ledger(), Counter()
    journal = MemoryJournal(ledger)
    model = ModelOf(*[calls("send", text="hi")] * 2, says("done"))
    await rehearsing(recording).execute(work(journal, model, tools=[tool]))
    told = [message.content for message in ledger.messages if message.role == "tool"]
    assert told == ["first", "Error: the door was shut"]
    assert tool.calls == []
    assert [line["key"] for line in lines(journal, "recorded")] == ["/0/0", "/1/0"]


async def test_what_was_not_recorded_is_read_and_noted() -> None:
    journal, tool = MemoryJournal(Ledger()), Counter(idempotent=True)
    model = ModelOf(calls("send", text="new"), says("done"))
    await rehearsing(Recording(replays=True)).execute(work(journal, model, tools=[tool]))
    assert len(tool.calls) == 1
    assert lines(journal, "not_recorded") == [{"key": "/0/0", "tool": "send"}]


async def test_an_approval_is_answered_as_it_was_and_else_noted() -> None:
    about = digest("send", text="hi")
    question = {"model": lambda: ModelOf(calls("send", text="hi"), says("done"))}
    rejected = Recording(
        answers=(RecordedAnswer(topic=topic("approval", "", about), answer=Answer(value=False, comment="no")),),
        replays=True,
    )
    ledger = Ledger()
    await rehearsing(rejected).execute(
        work(MemoryJournal(ledger), question["model"](), tools=[Counter()], settings=[ASK])
    )
    assert "a person rejected this call, because: no" in ledger.messages[-1].content
    journal = MemoryJournal(Ledger())
    await rehearsing().execute(work(journal, question["model"](), tools=[Counter()], settings=[ASK]))
    (asked,) = lines(journal, "would_ask")
    assert (asked["purpose"], asked["key"]) == ("approval", "/0/0")
    assert [line["tool"] for line in lines(journal, "would_do")] == ["send"]


async def test_the_model_is_asked_once_for_each_answer_where_the_journal_reads_nothing_in_its_first_claim() -> None:
    class FirstClaim(MemoryJournal):
        async def entries(self) -> list[Message]:
            return []

    ledger = Ledger()
    model = ModelOf(calls("ask_human", question="Which?"), calls("send", text="hi"), says("done"))
    outcome = await rehearsing().execute(work(FirstClaim(ledger), model, tools=[Counter()], settings=[ASK]))
    assert isinstance(outcome, Succeeded)
    assert len(model.requests) == 3
    assert [message.role for message in ledger.messages] == ["assistant", "tool"] * 2
    assert len(outcome.messages) == 6


async def test_a_budget_is_asked_about_in_earnest() -> None:
    class Poor:
        async def execute(self, given: Any) -> Asked:
            question = Question(key="budget/run/0", kind="choice", text="more?", purpose="budget")
            return Asked(question=question, usage=Usage())

    outcome = await RehearsingEngine(Poor(), Recording()).execute(work(MemoryJournal(Ledger()), []))
    assert isinstance(outcome, Asked)


async def test_a_task_ends_as_it_did_and_another_one_is_handed_on() -> None:
    tool = RunAgent(("helper",))
    ended = HandedResult(status="succeeded", output="42")
    recording = Recording(tasks=(RecordedTask(agent="helper", task="count", result=ended),), replays=True)
    ledger = Ledger()
    model = ModelOf(
        calls("run_agent", agent="helper", task="count"),
        calls("run_agent", agent="helper", task="count"),
    )
    given_work = work(MemoryJournal(ledger), model, tools=[tool], agents=frozenset({"helper"}))
    outcome = await rehearsing(recording).execute(given_work)
    assert ledger.messages[1].content == "42"
    assert isinstance(outcome, Handed)
    assert [(task.key, task.task) for task in outcome.children] == [("/1/0", "count")]
    assert ledger.effects == {}
    going_on = replace(
        given_work,
        journal=MemoryJournal(ledger),
        provider=ModelOf(says("done")),
        handed={"/1/0": HandedResult(status="succeeded", output="43")},
    )
    assert isinstance(await rehearsing(recording).execute(going_on), Succeeded)
    assert ledger.messages[3].content == "43"


@given(writes=st.integers(min_value=0, max_value=6))
async def test_a_rehearsal_that_is_killed_anywhere_goes_on_with_the_right_results(writes: int) -> None:
    same = digest("send", text="hi")
    recording = Recording(calls=tuple(RecordedCall(digest=same, text=str(number)) for number in range(3)), replays=True)
    ledger, tool = Ledger(fail_after_writes=writes), Counter()
    answers = [*[calls("send", text="hi")] * 2, says("end", ToolCall(id="c", name="send", arguments={"text": "hi"}))]
    try:
        await rehearsing(recording).execute(
            work(MemoryJournal(ledger), ModelOf(*answers, says("done")), tools=[tool], limits=OFTEN)
        )
    except KilledError:
        ledger.fail_after_writes = None
    asked = sum(message.role == "assistant" for message in ledger.messages)
    await rehearsing(recording).execute(
        work(MemoryJournal(ledger), ModelOf(*answers[asked:], says("done")), tools=[tool], limits=OFTEN)
    )
    assert [message.content for message in ledger.messages if message.role == "tool"] == ["0", "1", "2"]
    assert tool.calls == []


def test_the_ledger_tells_what_was_really_called() -> None:
    entries = [
        Message(
            role="assistant",
            content="",
            tool_calls=tuple(ToolCall(id=str(n), name="send", arguments={"text": str(n)}) for n in range(4)),
        ),
        Message(role="tool", content="[a person changed the arguments to …]\nsent", tool_call_id="0"),
        Message(role="tool", content="Error: it is not allowed", tool_call_id="1", is_error=True),
        Message(role="tool", content="Error: shut", tool_call_id="2", is_error=True),
        Message(role="tool", content="dry run: not carried out", tool_call_id="3"),
    ]
    edited = digest("send", text="edited")

    def effect(key: str, status: EffectStatus, text: str, about: str) -> EffectRecord:
        return EffectRecord(key=key, tool="send", digest=about, idempotent=False, status=status, fencing=1, result=text)

    ledger = {
        "s/0/0": effect("s/0/0", EffectStatus.DONE, "sent", edited),
        "s/0/2": effect("s/0/2", EffectStatus.FAILED, "shut", digest("send", text="2")),
    }
    assert calls_made(entries, ledger, {"s/0/3"}, run_id="r", step="s") == (
        RecordedCall(digest=edited, text="sent"),
        RecordedCall(digest=digest("send", text="2"), text="shut", failed=True),
        RecordedCall(digest=digest("send", text="3"), text="dry run: not carried out"),
    )
