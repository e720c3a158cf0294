"""A model that does not know when to stop is stopped, and says why."""

from __future__ import annotations

import contextlib

import pytest
from pydantic import JsonValue

from callboard.agents.engine import Failed, Succeeded, Usage, WorkLimits
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.llm.provider import LLMResponse, ToolCall
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal


def cut_off(content: str, *asked: ToolCall) -> LLMResponse:
    return LLMResponse(
        content=content,
        model="m",
        input_tokens=10,
        output_tokens=3,
        finish_reason="length",
        cost_usd=0.0,
        tool_calls=asked,
    )


async def test_G4_model_calls_are_limited_over_all_claims_of_a_run() -> None:
    ledger, tool = Ledger(), Counter(idempotent=True)
    limits = WorkLimits(max_model_calls=3)
    first = ModelOf(*(calls("send", text=f"first {number}") for number in range(2)))
    with contextlib.suppress(IndexError):  # the machine burns before the third answer
        await ToolLoopEngine().execute(work(MemoryJournal(ledger), first, tools=[tool], limits=limits))
    second = ModelOf(*(calls("send", text=f"second {number}") for number in range(5)))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), second, tools=[tool], limits=limits))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable) == ("model_call_limit", False)
    assert "3 model calls" in outcome.message
    assert sum(message.role == "assistant" for message in ledger.messages) == 3


async def test_G4_tokens_are_limited_over_all_claims_of_a_run() -> None:
    tool = Counter(idempotent=True)
    model = ModelOf(*(calls("send", text=str(number)) for number in range(9)))
    outcome = await ToolLoopEngine().execute(
        work(
            MemoryJournal(Ledger()),
            model,
            tools=[tool],
            limits=WorkLimits(max_tokens=100),
            used=Usage(input_tokens=60, output_tokens=10),
        )
    )
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable) == ("token_limit", False)
    assert "109 tokens" in outcome.message
    assert len(model.requests) == 3


async def test_a_thousand_calls_in_one_answer_are_not_begun() -> None:
    tool = Counter(idempotent=True)
    asked = [ToolCall(id=str(number), name="send", arguments={"text": str(number)}) for number in range(1000)]
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(says("", *asked)), tools=[tool]))
    assert isinstance(outcome, Failed)
    assert outcome.code == "tool_call_limit"
    assert tool.calls == []


async def test_an_answer_that_was_cut_off_is_asked_for_once_more_in_short() -> None:
    model = ModelOf(cut_off("blah " * 50), says("short"))
    ledger = Ledger()
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), model))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "short"
    assert "much shorter" in model.requests[1].messages[-1].content
    assert ledger.usage + outcome.usage == Usage(input_tokens=20, output_tokens=6, model_calls=2, cost_usd=0.5)


async def test_an_answer_that_is_cut_off_again_is_kept_with_a_note() -> None:
    model = ModelOf(cut_off("first"), cut_off("second"))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "second\n[cut: the model's answer had grown as long as it may be]"


async def test_calls_of_an_answer_that_was_cut_off_are_told_what_is_wrong_with_them() -> None:
    broken = ToolCall(id="1", name="send", malformed='{"text": "half')
    model, tool = ModelOf(cut_off("", broken), says("ok")), Counter()
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, tools=[tool]))
    assert isinstance(outcome, Succeeded)
    assert "not a JSON object" in model.requests[1].messages[-1].content
    assert tool.calls == []


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}},
    "required": ["city", "degrees"],
}


@pytest.mark.parametrize(
    "answer",
    ['{"city": "Ulm", "degrees": 3}', 'Sure!\n```json\n{"city": "Ulm", "degrees": 3}\n```\nAnything else?'],
)
async def test_an_answer_by_a_schema_is_an_object(answer: str) -> None:
    model = ModelOf(says(answer))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, output_schema=SCHEMA))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {"city": "Ulm", "degrees": 3}
    assert model.requests[0].output_schema == SCHEMA
    assert outcome.messages[-1].content == answer


async def test_what_does_not_fit_the_schema_is_told_and_corrected() -> None:
    model = ModelOf(says("It is warm."), says('{"city": "Ulm"}'), says('{"city": "Ulm", "degrees": 3}'))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, output_schema=SCHEMA))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {"city": "Ulm", "degrees": 3}
    assert "not one JSON object" in model.requests[1].messages[-1].content
    assert "'degrees' is a required property" in model.requests[2].messages[-1].content


async def test_after_two_corrections_the_run_fails_with_what_is_wrong() -> None:
    model = ModelOf(*(says(f"no {number}") for number in range(5)))
    ledger = Ledger()
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), model, output_schema=SCHEMA))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable) == ("output_invalid", False)
    assert len(model.requests) == 3
    assert outcome.usage.model_calls + ledger.usage.model_calls == 3


async def test_H6_a_secret_that_a_model_or_tool_says_goes_no_further() -> None:
    tool = Counter(idempotent=True, result="the key is hunter2!")
    model = ModelOf(calls("send", text="a"), says("it is hunter2!"))
    journal = MemoryJournal(Ledger())
    outcome = await ToolLoopEngine().execute(
        work(journal, model, tools=[tool], redact=lambda text: text.replace("hunter2", "[redacted]"))
    )
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "it is [redacted]!"
    assert "hunter2" not in repr((outcome, journal.notes, model.requests))


async def test_H6_a_secret_within_a_structured_answer_goes_no_further() -> None:
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"keys": {"type": "array"}}}
    model = ModelOf(says('{"keys": ["it is hunter2!", 1]}'))
    outcome = await ToolLoopEngine().execute(
        work(
            MemoryJournal(Ledger()),
            model,
            output_schema=schema,
            redact=lambda text: text.replace("hunter2", "[redacted]"),
        )
    )
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {"keys": ["it is [redacted]!", 1]}
    assert "hunter2" not in repr(outcome)
