"""What of a conversation is shown: a summary and the newest messages, calls whole, marks kept."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.conversation_view import (
    MOST_SHOWN,
    ConversationView,
    summarised,
    to_summarise,
    too_much,
    view_of,
    whole,
)
from callboard.llm.provider import Message, ToolCall


def tokens(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)


def said(text: str, *, untrusted: bool = False) -> Message:
    return Message(role="user", content=text, untrusted=untrusted)


def called(count: int = 1) -> list[Message]:
    """An answer with calls, and their results."""
    ids = [f"c{index}" for index in range(count)]
    asks = Message(role="assistant", content="", tool_calls=tuple(ToolCall(id=each, name="look") for each in ids))
    return [asks, *(Message(role="tool", content="found", tool_call_id=each) for each in ids)]


def test_a_short_conversation_is_shown_whole() -> None:
    view = view_of({}, 2, [said("a"), said("b")])
    assert to_summarise(view, 200, 2, tokens) == 0
    assert [message.content for message in view.shown] == ["a", "b"]
    assert view.memory == {}


def test_everything_but_the_newest_is_summarised() -> None:
    view = view_of({}, 6, [said(letter * 50) for letter in "abcdef"])
    assert to_summarise(view, 200, 2, tokens) == 4
    told = view.with_summary("four of them", 4)
    assert told.memory == {"summary": "four of them", "summarised": 4, "untrusted": False}
    summary, *rest = told.shown
    assert summary.content.endswith("four of them")
    assert summary.stands_for == 4
    assert [message.content[0] for message in rest] == ["e", "f"]
    assert to_summarise(told, 200, 2, tokens) == 0


def test_a_stored_summary_stands_for_its_messages_at_the_next_load() -> None:
    memory = {"summary": "s", "summarised": 4, "untrusted": True}
    view = view_of(memory, 7, [said(letter) for letter in "bcdefg"])
    assert summarised(memory) == 4
    assert [message.content for message in view.messages] == ["e", "f", "g"]
    assert (view.start, view.summaries[0].untrusted) == (4, True)


def test_fewer_than_the_wanted_messages_stay_where_these_are_too_much() -> None:
    view = view_of({}, 4, [said(letter * 90) for letter in "abcd"])
    assert to_summarise(view, 200, 4, tokens) == 2
    assert to_summarise(view_of({}, 1, [said("x" * 900)]), 200, 2, tokens) == 0


def test_many_short_messages_are_summarised_too() -> None:
    view = view_of({}, MOST_SHOWN + 1, [said("") for _ in range(MOST_SHOWN + 1)])
    assert to_summarise(view, 10_000, 20, tokens) == MOST_SHOWN + 1 - 20


def test_what_strangers_may_have_written_stays_marked_in_every_later_summary() -> None:
    view = view_of({}, 3, [said("a", untrusted=True), said("b"), said("c")])
    once = view.with_summary("s", 1)
    twice = once.with_summary("t", 1)
    assert (once.untrusted, twice.untrusted) == (True, True)
    assert twice.shown[0].untrusted
    assert not view_of({}, 2, [said("a"), said("b")]).with_summary("s", 1).untrusted


def test_without_a_summary_the_newest_that_fit_are_shown_behind_the_old_one() -> None:
    view = view_of({"summary": "s", "summarised": 1}, 5, [said(letter * 60) for letter in "bcde"])
    shown = view.newest(too_much(view, 200, tokens)).shown
    assert [message.content[-1] for message in shown] == ["s", "d", "e"]


def test_results_whose_call_is_not_there_and_summaries_of_single_runs_are_left_out() -> None:
    messages = [*called()[1:], said("a"), Message(role="user", content="sum", stands_for=3), said("b")]
    assert [message.content for message in whole(messages)] == ["a", "b"]


MESSAGES = st.lists(
    st.one_of(
        st.integers(1, 80).map(lambda size: [said("x" * size)]),
        st.integers(1, 4).map(called),
    ),
    max_size=12,
).map(lambda groups: [message for group in groups for message in group])


@given(MESSAGES, st.integers(1, 400), st.integers(2, 20), st.booleans())
def test_no_call_is_parted_from_its_results(messages: list[Message], above: int, keep: int, summary: bool) -> None:
    view = ConversationView(start=3, messages=tuple(messages), summary="s" if summary else None)
    count = to_summarise(view, above, keep, tokens)
    unseen = too_much(view, above, tokens)
    for cut in (count, unseen):
        assert 0 <= cut <= len(messages)
        assert cut < len(messages) or not messages
        assert not messages[cut:] or messages[cut].role != "tool"
    if count:
        assert len(messages) - count <= keep + 4
