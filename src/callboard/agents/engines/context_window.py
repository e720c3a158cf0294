"""How much a model can read at once, and what of a run it is shown when that is not all; pure.

A run's messages are its history, the input and its entries. The oldest part is replaced by a summary, which is itself
an entry: it stands for the whole history and for the entries before position `stands_for`. What the person asked
for is always shown as it was, and a call is never parted from its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from callboard.agents.engines.text_limits import clipped
from callboard.llm.provider import Message, ToolSpec
from callboard.llm.tokens import TOKENS_A_MESSAGE, TOKENS_AN_EMOJI

DEFAULT_WINDOW = 128_000
_WINDOWS: tuple[tuple[str, int], ...] = (
    ("claude", 200_000),
    ("gpt-5", 272_000),
    ("gpt-4.1", 1_000_000),
    ("gpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4", 8_192),
    ("gpt-3.5", 16_385),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4", 200_000),
    ("llama-3.1", 128_000),
    ("llama3.1", 128_000),
    ("llama-3.2", 128_000),
    ("llama3.2", 128_000),
    ("llama3-1", 128_000),
    ("llama3-2", 128_000),
    ("llama3-3", 128_000),
    ("llama-3", 8_192),
    ("llama3", 8_192),
    ("mistral", 32_000),
    ("qwen", 32_000),
    ("gemma", 8_192),
    ("phi", 16_000),
)
"""By how a model's name begins, or a part of it after a dot or slash begins; the first that fits."""
_NOTICE = "Summary of what came before, made to save room:\n"
_SHOWN_AT_LEAST_CHARS = 200

Estimate = Callable[[Sequence[Message]], int]


def window_of(model_id: str) -> int:
    """In tokens, by the model's name."""
    name = model_id.lower()
    parts = [name, *name.replace("/", ".").split("."), name.rpartition("/")[2]]
    for beginning, tokens in _WINDOWS:
        if any(part.startswith(beginning) for part in parts):
            return tokens
    return DEFAULT_WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a run consists of so far; `before` is the system message, if there is one."""

    before: tuple[Message, ...]
    history: tuple[Message, ...]
    asked: Message
    entries: Sequence[Message]

    @property
    def summary(self) -> Message | None:
        """The newest one."""
        return next((entry for entry in reversed(self.entries) if entry.stands_for is not None), None)

    def shown(self) -> tuple[Message, ...]:
        """All that is not summarised, behind the summary."""
        summary = self.summary
        if summary is None:
            return (*self.before, *self.history, self.asked, *self.entries)
        told = replace(summary, content=_NOTICE + summary.content)
        return (*self.before, told, self.asked, *self._after(summary.stands_for or 0))

    def _after(self, position: int) -> list[Message]:
        return [entry for entry in self.entries[position:] if entry.stands_for is None]


def certainly_fits(messages: Sequence[Message], tools: Sequence[ToolSpec], room: int) -> bool:
    """Whether it needs no estimate: short texts without calls, and no tool but the one that every agent has."""
    if len(tools) > 1 or any(message.tool_calls for message in messages):
        return False
    chars = sum(len(message.content) for message in messages)
    return (chars + 1000) * TOKENS_AN_EMOJI + len(messages) * TOKENS_A_MESSAGE <= room


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSummarise:
    """These messages make room; the summary of them stands for the history and the entries before `stands_for`."""

    messages: tuple[Message, ...]
    stands_for: int

    @property
    def untrusted(self) -> bool:
        return any(message.untrusted for message in self.messages)


def to_summarise(course: Course, room: int, estimate: Estimate) -> ToSummarise | None:
    """What to summarise so that the rest takes at most half of `room` tokens; None when nothing can be."""
    summary = course.summary
    done = 0 if summary is None else summary.stands_for or 0
    kept = len(course.entries)
    for start in reversed(_starts(course.entries, done)):
        if kept < len(course.entries) and estimate(course.entries[start:]) > room // 2:
            break
        kept = start
    older = [entry for entry in course.entries[done:kept] if entry.stands_for is None]
    before = course.history if summary is None else (summary,)
    messages = (*before, *older) if older or summary is None else ()
    return ToSummarise(messages=messages, stands_for=kept) if messages else None


def squeezed(messages: Sequence[Message], room: int, estimate: Estimate) -> tuple[Message, ...]:
    """For when nothing more can be summarised: the longest results are shown in part."""
    told = list(messages)
    for _ in range(len(told) * 4):
        if estimate(told) <= room:
            break
        longest = max(range(len(told)), key=lambda index: _spare(told[index]))
        spare = _spare(told[longest])
        if spare <= 0:
            break
        chars = _SHOWN_AT_LEAST_CHARS + spare // 2
        told[longest] = replace(told[longest], content=clipped(told[longest].content, chars))
    return tuple(told)


def _spare(message: Message) -> int:
    """How much of it can be left out; what a person said cannot."""
    if message.role == "system" or (message.role == "user" and message.stands_for is None):
        return 0
    return len(message.content) - _SHOWN_AT_LEAST_CHARS


def _starts(entries: Sequence[Message], done: int) -> list[int]:
    """Positions at which a run can be cut: before an answer of the model, not between a call and its result."""
    return [index for index in range(done, len(entries)) if entries[index].role == "assistant"]
