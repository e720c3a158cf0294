"""What of a conversation a model is shown: a summary of the older part, then the newest messages; pure.

The stored memory of a conversation is `{"summary": TEXT, "summarised": N, "untrusted": BOOL}`: the summary stands for
its first N messages. All messages are kept, whatever is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callboard.llm.provider import Message

MOST_SHOWN = 200
"""More messages than this are summarised even when they are short."""
_NOTICE = "Summary of the conversation so far, made to save room:\n"

Estimate = Callable[[Sequence[Message]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationView:
    """`messages` are those that no summary stands for, the oldest of them at position `start`; `untrusted` is the
    summary's."""

    start: int
    messages: tuple[Message, ...]
    summary: str | None = None
    untrusted: bool = False

    @property
    def shown(self) -> tuple[Message, ...]:
        return (*self.summaries, *whole(self.messages))

    @property
    def summaries(self) -> tuple[Message, ...]:
        """The summary as a message, if there is one; what strangers may have written stays marked in it."""
        if self.summary is None:
            return ()
        text = _NOTICE + self.summary
        return (Message(role="user", content=text, untrusted=self.untrusted, stands_for=self.start),)

    @property
    def memory(self) -> dict[str, Any]:
        """As it is stored."""
        if self.summary is None:
            return {}
        return {"summary": self.summary, "summarised": self.start, "untrusted": self.untrusted}

    def with_summary(self, text: str, count: int) -> ConversationView:
        """The first `count` messages, and what was summarised before, are told by this text from now on."""
        untrusted = self.untrusted or any(message.untrusted for message in self.messages[:count])
        return ConversationView(
            start=self.start + count, messages=self.messages[count:], summary=text, untrusted=untrusted
        )

    def newest(self, count: int) -> ConversationView:
        """Without the oldest `count` messages, which nothing tells of; only to be shown."""
        return ConversationView(
            start=self.start, messages=self.messages[count:], summary=self.summary, untrusted=self.untrusted
        )


def summarised(memory: Mapping[str, Any]) -> int:
    """For how many messages a stored summary stands."""
    count = memory.get("summarised", 0)
    return count if isinstance(count, int) and isinstance(memory.get("summary"), str) else 0


def view_of(memory: Mapping[str, Any], total: int, newest: Sequence[Message]) -> ConversationView:
    """`newest` are the last of `total` messages, as many as were loaded."""
    done = summarised(memory)
    first = total - len(newest)
    start = max(done, first)
    return ConversationView(
        start=start,
        messages=tuple(newest[start - first :]),
        summary=memory["summary"] if done else None,
        untrusted=bool(done and memory.get("untrusted")),
    )


def to_summarise(view: ConversationView, above_tokens: int, keep: int, estimate: Estimate) -> int:
    """How many of the oldest messages are to be summarised, 0 while there is room.

    The newest `keep` stay as they are; fewer, where these alone are too much. A call stays with its results.
    """
    if len(view.messages) <= MOST_SHOWN and estimate(view.shown) <= above_tokens:
        return 0
    cut = _whole_calls(view.messages, max(0, len(view.messages) - keep))
    return max(cut, _fitting(view.messages, above_tokens, estimate))


def too_much(view: ConversationView, above_tokens: int, estimate: Estimate) -> int:
    """How many of the oldest messages have to go unseen when there is no summary of them."""
    room = max(above_tokens - estimate(view.summaries), above_tokens // 4)
    start = _fitting(view.messages, room, estimate)
    # What is shown begins with what a person said, where it can.
    said = (index for index in range(start, len(view.messages)) if view.messages[index].role == "user")
    return next(said, start)


def whole(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Without results whose call is not there, and without summaries of a single run, whose messages are all there."""
    start = next((index for index, message in enumerate(messages) if message.role != "tool"), len(messages))
    return tuple(message for message in messages[start:] if message.stands_for is None)


def _fitting(messages: Sequence[Message], tokens: int, estimate: Estimate) -> int:
    """The first place to begin at, so that what follows takes at most so much; the last exchange always stays."""
    used, start = 0, len(messages)
    for index in range(len(messages) - 1, -1, -1):
        used += estimate(messages[index : index + 1])
        if used > tokens or len(messages) - index > MOST_SHOWN:
            break
        start = index
    while start < len(messages) and messages[start].role == "tool":
        start += 1  # its call did not fit
    return start if start < len(messages) else _whole_calls(messages, max(0, len(messages) - 1))


def _whole_calls(messages: Sequence[Message], cut: int) -> int:
    """The nearest earlier place between a message and the next that parts no call from its results."""
    while 0 < cut < len(messages) and messages[cut].role == "tool":
        cut -= 1
    return cut
