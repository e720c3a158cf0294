"""Runs that grow past what a model can read at once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.engine import Succeeded
from callboard.agents.engines.context_window import Course, squeezed, to_summarise, window_of
from callboard.agents.engines.summary import transcript
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.llm.provider import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import KilledError, Ledger, MemoryJournal


def tokens(messages: Sequence[Message]) -> int:
    return sum(len(message.content) // 4 + 5 for message in messages)


class Reader(ModelOf):
    """A model that can only read so much, and sums up what it is asked to."""

    room = 900

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return tokens(messages)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        assert tokens(request.messages) <= self.room
        _check_pairs(request.messages)
        if "condense" in request.messages[0].content:
            self.requests.append(request)
            return says(f"Summary of {request.messages[1].content.count('[result]')} results.")
        return await super().complete(request)


def _check_pairs(messages: Sequence[Message]) -> None:
    """Every result stands behind its call, and every call has its result."""
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
        else:
            assert not waiting
            waiting = [call.id for call in message.tool_calls]
    assert not waiting


def _work(ledger: Ledger, model: Reader, **more: Any) -> Any:
    tool = Counter(name="look", idempotent=True, result="x" * 800)
    return work(MemoryJournal(ledger), model, tools=[tool], window=1000, **more)


def _looks(count: int, first: int = 0) -> list[LLMResponse]:
    return [calls("look", text=str(number)) for number in range(first, first + count)]


async def test_a_long_run_is_summed_up_and_goes_on() -> None:
    ledger, model = Ledger(), Reader(*_looks(12), says("done"))
    outcome = await ToolLoopEngine().execute(_work(ledger, model))
    assert isinstance(outcome, Succeeded)
    last = model.requests[-1].messages
    assert last[0].content == "Be brief."
    assert "Summary of" in last[1].content
    assert last[2] == Message(role="user", content="hello"), "what the person asked for is shown as it was"
    summaries = [message for message in ledger.messages if message.stands_for is not None]
    assert len(summaries) >= 2
    made = ledger.usage.model_calls + outcome.usage.model_calls
    assert made == 13 + len(summaries)


async def test_a_summary_is_not_made_twice_by_a_resumed_run() -> None:
    ledger = Ledger()
    with contextlib.suppress(IndexError):
        await ToolLoopEngine().execute(_work(ledger, Reader(*_looks(8))))
    summaries = sum(message.stands_for is not None for message in ledger.messages)
    assert summaries
    second = Reader(says("done"))
    outcome = await ToolLoopEngine().execute(_work(ledger, second))
    assert isinstance(outcome, Succeeded)
    assert sum("condense" in request.messages[0].content for request in second.requests) == 0
    assert sum(message.stands_for is not None for message in ledger.messages) == summaries


@pytest.mark.parametrize("writes", range(1, 14))
async def test_killed_at_any_write_a_long_run_ends_all_the_same(writes: int) -> None:
    ledger = Ledger(fail_after_writes=writes)
    with contextlib.suppress(KilledError, IndexError):
        await ToolLoopEngine().execute(_work(ledger, Reader(*_looks(9))))
    ledger.fail_after_writes = None
    answered = sum(message.role == "assistant" for message in ledger.messages)
    outcome = await ToolLoopEngine().execute(_work(ledger, Reader(*_looks(9 - answered, answered), says("done"))))
    assert isinstance(outcome, Succeeded)


async def test_a_summary_of_what_strangers_wrote_is_no_more_trusted_than_that() -> None:
    ledger = Ledger()
    history = tuple(
        Message(role="user" if number % 2 else "assistant", content="y" * 700, untrusted=number == 3)
        for number in range(8)
    )
    outcome = await ToolLoopEngine().execute(_work(ledger, Reader(says("done")), history=history))
    assert isinstance(outcome, Succeeded)
    (summary,) = [message for message in ledger.messages if message.stands_for is not None]
    assert summary.untrusted
    assert summary.stands_for == 0


async def test_one_result_takes_at_most_a_quarter_of_the_window() -> None:
    ledger, model = Ledger(), _Wide(calls("look", text="1"), says("done"))
    tool = Counter(name="look", idempotent=True, result="x" * 100_000)
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(ledger), model, tools=[tool], window=10_000))
    assert isinstance(outcome, Succeeded)
    (result,) = [message for message in ledger.messages if message.role == "tool"]
    assert len(result.content) < 10_000


class _Wide(Reader):
    room = 10_000


entry = st.sampled_from(["look", "look2", "say"])


@given(kinds=st.lists(entry, max_size=30), room=st.integers(60, 2000), size=st.integers(0, 900))
def test_whatever_a_run_looks_like_it_is_cut_between_whole_exchanges(kinds: list[str], room: int, size: int) -> None:
    entries: list[Message] = []
    for number, kind in enumerate(kinds):
        names = {"look": ["a"], "look2": ["a", "b"], "say": []}[kind]
        asked = tuple(ToolCall(id=f"{number}{name}", name="look") for name in names)
        entries.append(Message(role="assistant", content="t" * (size // 3), tool_calls=asked))
        entries += [Message(role="tool", content="r" * size, tool_call_id=call.id) for call in asked]
        if not asked:
            entries.append(Message(role="user", content="again"))
    asked_for = Message(role="user", content="task")
    before = (Message(role="system", content="s"),)
    for _ in range(50):
        course = Course(before=before, history=(), asked=asked_for, entries=entries)
        part = to_summarise(course, room, tokens)
        if part is None or tokens(course.shown()) <= room:
            break
        assert part.messages
        entries.append(Message(role="user", content="sum", stands_for=part.stands_for))
    else:
        raise AssertionError("it does not end")
    shown = Course(before=before, history=(), asked=asked_for, entries=entries).shown()
    _check_pairs(shown)
    assert asked_for in shown
    _check_pairs(squeezed(shown, room, tokens))


@pytest.mark.parametrize(
    ("model", "tokens_"),
    [
        ("claude-sonnet-4-5", 200_000),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", 200_000),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", 200_000),
        ("gpt-4o-mini", 128_000),
        ("openai/gpt-4.1", 1_000_000),
        ("gpt-4", 8_192),
        ("meta.llama3-1-70b-instruct-v1:0", 128_000),
        ("llama3.1:8b", 128_000),
        ("nobody-knows", 128_000),
    ],
)
def test_how_much_a_model_reads_is_known_by_its_name(model: str, tokens_: int) -> None:
    assert window_of(model) == tokens_


def test_a_log_of_many_messages_stays_within_its_size() -> None:
    messages = [Message(role="user", content="z" * 5000) for _ in range(100)]
    assert len(transcript(messages, 10_000)) <= 10_000
    assert transcript(messages[:1], 10_000).endswith("z" * 5000)
