"""The loop: what an agent answers, what it leaves in its journal, and how it fails."""

from __future__ import annotations

import asyncio

import pytest

from callboard.agents.engine import Asked, Failed, Succeeded, Usage, WorkLimits
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.clock import ManualClock
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMInvalidRequestError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.provider import Message, ToolCall
from callboard.llm.script import ScriptAsk, ScriptCall, ScriptRule
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal


async def test_an_agent_without_tools_answers_and_leaves_no_checkpoint() -> None:
    ledger = Ledger()
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [ScriptRule(say="turn {turn}: {input}")]))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "turn 1: hello"
    assert outcome.messages == (
        Message(role="user", content="hello"),
        Message(role="assistant", content="turn 1: hello"),
    )
    assert outcome.usage.model_calls == 1
    assert ledger.writes == 0


async def test_the_model_sees_instructions_history_and_the_new_message_in_order() -> None:
    model = ModelOf(says("fine"))
    history = (Message(role="user", content="before"), Message(role="assistant", content="yes"))
    await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, history=history, turn=2, tools=[Counter()]))
    request = model.requests[0]
    assert [message.content for message in request.messages] == ["Be brief.", "before", "yes", "hello"]
    assert request.turn == 2
    assert [tool.name for tool in request.tools] == ["send", "ask_human"]


async def test_a_tool_is_called_and_its_result_reaches_the_answer() -> None:
    ledger, tool = Ledger(), Counter(result="done at noon")
    rule = ScriptRule(call=ScriptCall(tool="send", args={"text": "{input}!"}), say="Got {result}")
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), [rule], tools=[tool]))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "Got done at noon"
    assert tool.calls == [{"text": "hello!"}]
    assert [message.role for message in outcome.messages] == ["user", "assistant", "tool", "assistant"]
    assert ledger.usage.tool_calls == 1


async def test_what_was_used_is_counted_once_between_checkpoints_and_outcome() -> None:
    ledger = Ledger()
    model = ModelOf(calls("send", text="a"), says("done"))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), model, tools=[Counter()]))
    assert ledger.usage + outcome.usage == Usage(
        input_tokens=20, output_tokens=6, model_calls=2, tool_calls=1, cost_usd=1.0
    )


def test_a_cost_that_is_not_known_makes_the_sum_unknown() -> None:
    assert (Usage(cost_usd=0.5) + Usage(cost_usd=None) + Usage(cost_usd=1.0)).cost_usd is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (ToolCall(id="c", name="sned"), "there is no tool 'sned'; there are: send, ask_human"),
        (ToolCall(id="c", name="send", arguments={"txt": "a"}), "arguments.text is missing"),
        (ToolCall(id="c", name="send", arguments={"text": 7}), "arguments.text must be of type string"),
        (ToolCall(id="c", name="send", malformed="{text:"), "not a JSON object"),
        (ToolCall(id="c", name="ask_human", malformed="{"), "not a JSON object"),
        (ToolCall(id="c", name="ask_human", arguments={"question": "?", "kind": "choice"}), "options is missing"),
        (ToolCall(id="c", name="ask_human", arguments={"question": "?", "kind": "riddle"}), "must be one of"),
    ],
)
async def test_a_wrong_call_is_told_to_the_model_which_can_go_on(call: ToolCall, told: str) -> None:
    tool, model = Counter(), ModelOf(says("", call), says("I see"))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, tools=[tool]))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "I see"
    heard = model.requests[1].messages[-1]
    assert heard.is_error
    assert heard.tool_call_id == "c"
    assert told in heard.content
    assert tool.calls == []


async def test_a_tool_that_fails_is_told_to_the_model_and_recorded_as_not_done() -> None:
    ledger, tool = Ledger(), Counter(fails=["error"])
    model = ModelOf(calls("send", text="a"), says("too bad"))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), model, tools=[tool]))
    assert isinstance(outcome, Succeeded)
    assert "the door was shut" in model.requests[1].messages[-1].content
    assert [entry[1] for entry in ledger.effects.values()] == ["failed"]


async def test_a_large_result_is_cut_and_says_so() -> None:
    tool = Counter(result="ä" * 1000)
    model = ModelOf(calls("send", text="a"), says("ok"))
    limits = WorkLimits(max_result_bytes=101)
    await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, tools=[tool], limits=limits))
    assert model.requests[1].messages[-1].content == "ä" * 50 + "\n[cut: the first 101 of 2000 bytes]"


async def test_the_same_call_three_times_ends_the_run_with_the_reason() -> None:
    tool, ledger = Counter(idempotent=True), Ledger()
    model = ModelOf(*(calls("send", text="again") for _ in range(9)))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), model, tools=[tool]))
    assert isinstance(outcome, Failed)
    assert outcome.code == "tool_call_loop"
    assert "goes in circles" in outcome.message
    assert not outcome.retryable
    assert len(tool.calls) == 2


async def test_tool_calls_are_limited_over_all_answers_of_the_model() -> None:
    tool = Counter(idempotent=True)
    model = ModelOf(*(calls("send", text=str(number)) for number in range(9)))
    limits = WorkLimits(max_tool_calls=4)
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, tools=[tool], limits=limits))
    assert isinstance(outcome, Failed)
    assert outcome.code == "tool_call_limit"
    assert len(tool.calls) == 4


@pytest.mark.parametrize("nothing", ["", " \n\t "])
async def test_an_agent_that_returns_nothing_fails_and_may_be_tried_again(nothing: str) -> None:
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(says(nothing))))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable) == ("empty_answer", True)
    assert outcome.usage.model_calls == 1


async def test_an_agent_that_returns_20_megabytes_fails_with_the_limit_in_words() -> None:
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(says("x" * 20_000_000))))
    assert isinstance(outcome, Failed)
    assert outcome.code == "output_too_large"
    assert "20000000 bytes; the limit is 1048576" in outcome.message


async def test_G5_text_that_utf_8_cannot_carry_is_made_storable() -> None:
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(says("a\udcffb"))))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "a?b"


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (LLMServiceUnavailableError("down"), "provider_unavailable", True),
        (LLMAuthenticationError("bad key"), "provider_authentication", False),
        (LLMInvalidRequestError("too long"), "provider_invalid_request", False),
        (LLMProviderError("?"), "provider_error", False),
    ],
)
async def test_what_a_provider_refuses_is_a_failure_that_says_whether_to_try_again(
    error: LLMProviderError, code: str, retryable: bool
) -> None:
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(error)))
    assert outcome == Failed(code=code, message=error.message, retryable=retryable, usage=Usage())


async def test_an_unexpected_exception_is_left_to_the_pool() -> None:
    with pytest.raises(RuntimeError, match="crash"):
        await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), [ScriptRule(error="crash")]))


async def test_a_rate_limit_is_waited_out_as_long_as_the_provider_asks() -> None:
    clock, journal = ManualClock(), MemoryJournal(Ledger())
    model = ModelOf(LLMRateLimitError("slow down", retry_after=7), LLMRateLimitError("slow down"), says("at last"))
    execution = asyncio.create_task(ToolLoopEngine().execute(work(journal, model, clock=clock)))
    await clock.advance(6.9)
    assert len(model.requests) == 1
    await clock.advance(0.2)
    assert len(model.requests) == 2
    await clock.advance(2)
    outcome = await execution
    assert isinstance(outcome, Succeeded)
    assert journal.progressed[0] == ("rate_limited", {"retry_after_seconds": 7, "wait": 1})
    assert 7 in journal.silences


async def test_a_rate_limit_past_the_deadline_gives_the_slot_back_at_once() -> None:
    model = ModelOf(LLMRateLimitError("slow down", retry_after=7))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, deadline=5.0))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable, outcome.retry_after) == ("rate_limited", True, 7)


async def test_a_rate_limit_that_never_ends_is_given_up() -> None:
    clock = ManualClock()
    model = ModelOf(*(LLMRateLimitError("slow down", retry_after=1) for _ in range(20)))
    execution = asyncio.create_task(ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, clock=clock)))
    for _ in range(8):
        await clock.advance(1)
    outcome = await execution
    assert isinstance(outcome, Failed)
    assert outcome.code == "rate_limited"
    assert len(model.requests) == 6


async def test_a_question_pauses_and_its_answer_becomes_the_result() -> None:
    ledger = Ledger()
    rules = [
        ScriptRule(ask=ScriptAsk(question="Which city?", options=("Berlin", "Paris")), say="You said {answer}."),
    ]
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules))
    assert isinstance(asked, Asked)
    assert (asked.question.kind, asked.question.text) == ("choice", "Which city?")
    assert asked.question.options == ("Berlin", "Paris")
    again = await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules))
    assert isinstance(again, Asked)
    assert again.question == asked.question
    ended = await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules, answers={asked.question.key: "Paris"}))
    assert isinstance(ended, Succeeded)
    assert ended.output == "You said Paris."
    assert ledger.usage.model_calls + ended.usage.model_calls == 2


@pytest.mark.parametrize(("value", "text"), [(True, "yes"), (False, "no"), ({"a": 1}, '{"a": 1}'), ("x", "x")])
async def test_an_answer_of_any_form_is_told_as_text(value: bool | dict[str, int] | str, text: str) -> None:
    ledger, rules = Ledger(), [ScriptRule(ask=ScriptAsk(question="?", kind="input"), say="{answer}")]
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules))
    assert isinstance(asked, Asked)
    answers = {asked.question.key: value}
    ended = await ToolLoopEngine().execute(work(MemoryJournal(ledger), rules, answers=answers))  # type: ignore[arg-type]
    assert isinstance(ended, Succeeded)
    assert ended.output == text


async def test_H1_what_another_run_of_the_request_has_read_stays_marked_in_the_conversation() -> None:
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(says("as told")), tainted=True))
    assert isinstance(outcome, Succeeded)
    assert [message.untrusted for message in outcome.messages] == [False, True]
