"""What a rehearsal knows and notes while it goes on: which recorded results are used up, what would have been done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import JsonValue

from callboard.agents.engine import Answer, Effect, HandedResult, HandedTask, Note, Question
from callboard.agents.engines.notes import arguments_text
from callboard.agents.engines.place import call_digest
from callboard.agents.engines.text_limits import clipped
from callboard.agents.recording import RecordedCall, Recording, calls_with_results, topic, topic_of, topic_of_call
from callboard.agents.tools.run_agent import RUN_AGENT
from callboard.llm.provider import Message, ToolCall

How: TypeAlias = Literal["carried_out", "recorded", "would_do"]
CARRIED_OUT: How = "carried_out"
RECORDED: How = "recorded"
WOULD_DO: How = "would_do"
WOULD_ASK = "would_ask"
NOT_RECORDED = "not_recorded"
DRY_RUN = "dry run"
NOT_CARRIED_OUT = "dry run: not carried out"
NOBODY_ASKED = "dry run: nobody was asked"
_SHOWN_CHARS = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A call that a tool was asked for."""

    how: How
    arguments: Mapping[str, JsonValue]


class Stage:
    """One execution of one run. `entries` are those that it begins with: what they contain is used up."""

    def __init__(self, recording: Recording, entries: Sequence[Message], redact: Callable[[str], str]) -> None:
        self._recording = recording
        self._redact = redact
        self._notes: list[Note] = []
        self._made: dict[str, _Made] = {}
        self._approved: set[str] = set()
        self._in_earnest: frozenset[str] = frozenset()
        self._used: Counter[str] = Counter()
        for call in calls_with_results(entries):
            digest = call_digest(call)
            self._used.update([digest, topic("approval", "", digest)])
            asked = topic_of_call(call)
            if asked is not None:
                self._used[asked] += 1
            if call.name == RUN_AGENT:
                self._used[_task(str(call.arguments.get("agent")), str(call.arguments.get("task")))] += 1

    def recorded(self, tool: str, arguments: Mapping[str, JsonValue]) -> RecordedCall | None:
        """The next recorded result of this very call."""
        digest = _digest(tool, arguments)
        return self._recording.call(digest, self._next(digest))

    def was_asked_about(self, tool: str, arguments: Mapping[str, JsonValue]) -> bool:
        """Whether a person would have had to allow the call: nobody has allowed this one."""
        return _digest(tool, arguments) in self._approved

    def made(self, idempotency_key: str, how: How, arguments: Mapping[str, JsonValue]) -> None:
        """How a call was answered."""
        self._made[idempotency_key] = _Made(how=how, arguments=arguments)

    def how(self, effect: Effect) -> How:
        """How the call that ends now was answered; notes it. A task that was handed on is none of the tools'."""
        made = self._made.pop(effect.key.digest, None)
        if made is None:
            return RECORDED
        place: dict[str, JsonValue] = {"key": effect.key.text, "tool": effect.tool}
        if made.how == WOULD_DO:
            self.note(Note(kind=WOULD_DO, data={**place, "arguments": self._shown(made.arguments)}))
        elif made.how == RECORDED:
            self.note(Note(kind=RECORDED, data=place))
        elif self._recording.replays:
            self.note(Note(kind=NOT_RECORDED, data=place))
        return made.how

    def answer(self, question: Question) -> Answer:
        """What people said to it then; else a yes to a call or a plan, which is not carried out, and else nothing."""
        about = topic_of(question)
        known = self._recording.answer(about, self._next(about))
        if question.digest is not None:
            self._approved.add(question.digest)
            edited = known.value.get("arguments") if known is not None and isinstance(known.value, dict) else None
            tool = question.details.get("tool")
            if isinstance(edited, dict) and isinstance(tool, str):
                self._approved.add(_digest(tool, edited))
        if known is not None:
            return known
        data: dict[str, JsonValue] = {
            "purpose": question.purpose,
            "question": clipped(self._redact(question.text), _SHOWN_CHARS),
            "options": list(question.options),
            "key": question.key.removeprefix("approval/").rpartition("/")[0] if question.digest else question.key,
        }
        self.note(Note(kind=WOULD_ASK, data=data))
        value: JsonValue = NOBODY_ASKED if question.purpose == "question" else True
        return Answer(value=value, answered_by=DRY_RUN)

    def handed(self, known: Mapping[str, HandedResult]) -> None:
        """Tasks that ended in this run itself are no business of the recording."""
        self._in_earnest = frozenset(known)

    def ended(self, tasks: Sequence[HandedTask]) -> dict[str, HandedResult]:
        """Of tasks that were handed on the recorded ends."""
        found = {}
        for task in tasks:
            about = _task(task.agent, task.task)
            result = self._recording.task(task.agent, task.task, self._next(about))
            if result is not None and task.key not in self._in_earnest:
                found[task.key] = result
        return found

    def note(self, *notes: Note) -> None:
        """To be stored with the next checkpoint."""
        self._notes += notes

    def notes(self) -> tuple[Note, ...]:
        """What is to be stored now."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def _next(self, name: str) -> int:
        """How often that has been before."""
        self._used[name] += 1
        return self._used[name] - 1

    def _shown(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        text = self._redact(arguments_text(arguments))
        if len(text) > _SHOWN_CHARS:
            return clipped(text, _SHOWN_CHARS)
        try:
            shown: JsonValue = json.loads(text)
        except ValueError:
            return text
        return shown


def _task(agent: str, task: str) -> str:
    return f"task:{agent}:{task}"


def _digest(tool: str, arguments: Mapping[str, JsonValue]) -> str:
    return call_digest(ToolCall(id="", name=tool, arguments=arguments))
