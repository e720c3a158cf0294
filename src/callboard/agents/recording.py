"""What a run did, as a replay of it needs it: results of calls, answers of people, ends of handed tasks; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from callboard.agents.engine import Answer, EffectKey, HandedResult, Question
from callboard.agents.engines.place import call_digest
from callboard.llm.ask_human import ASK_HUMAN
from callboard.llm.provider import Message, ToolCall
from callboard.state.effects import EffectRecord, EffectStatus

ERROR = "Error: "


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """`text` is the result, or, where it `failed`, why."""

    digest: str
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """`topic` tells which questions it answers."""

    topic: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTask:
    """A task that was handed to another agent, and what became of it."""

    agent: str
    task: str
    result: HandedResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Each in the order in which it happened. Empty for a dry run of something new, which `replays` nothing."""

    calls: tuple[RecordedCall, ...] = ()
    answers: tuple[RecordedAnswer, ...] = ()
    tasks: tuple[RecordedTask, ...] = ()
    replays: bool = False

    def call(self, digest: str, before: int) -> RecordedCall | None:
        """Of the calls with this digest the one after so many."""
        return next((call for call in [c for c in self.calls if c.digest == digest][before:]), None)

    def answer(self, topic: str, before: int) -> Answer | None:
        """The same for answers."""
        return next((given.answer for given in [a for a in self.answers if a.topic == topic][before:]), None)

    def task(self, agent: str, task: str, before: int) -> HandedResult | None:
        """The same for tasks."""
        same = [known for known in self.tasks if (known.agent, known.task) == (agent, task)]
        return next((known.result for known in same[before:]), None)


def topic_of(question: Question) -> str:
    """The same for questions that one answer fits: approvals of the same call, and the same words otherwise."""
    return topic(question.purpose, question.text, question.digest)


def topic(purpose: str, text: str, digest: str | None) -> str:
    return f"{purpose}:{digest or text}"


def topic_of_call(call: ToolCall) -> str | None:
    """What a call to ask a person asks."""
    asked = call.arguments.get("question")
    return topic("question", asked, None) if call.name == ASK_HUMAN and isinstance(asked, str) else None


def calls_made(
    entries: Sequence[Message],
    ledger: Mapping[str, EffectRecord],
    rehearsed: Collection[str],
    *,
    run_id: str,
    step: str,
) -> tuple[RecordedCall, ...]:
    """The calls that a tool has answered, by what the ledger has of them: with other arguments than the model's where a
    person changed them. `rehearsed` are the keys of those that a dry run answered in the tool's place."""
    found: list[RecordedCall] = []
    for key, call, result in _answered(entries, run_id=run_id, step=step):
        effect = ledger.get(key.text)
        if effect is not None and effect.status is not EffectStatus.ATTEMPTING:
            failed = effect.status is EffectStatus.FAILED
            found.append(RecordedCall(digest=effect.digest, text=effect.result or "", failed=failed))
        elif key.text in rehearsed:
            text = result.content.removeprefix(ERROR) if result.is_error else result.content
            found.append(RecordedCall(digest=call_digest(call), text=text, failed=result.is_error))
    return tuple(found)


def _answered(entries: Sequence[Message], *, run_id: str, step: str) -> list[tuple[EffectKey, ToolCall, Message]]:
    """Every call with its key and its result; calls are carried out in order, so results follow in theirs."""
    found: list[tuple[EffectKey, ToolCall, Message]] = []
    calls: tuple[ToolCall, ...] = ()
    turn, index = -1, 0
    for message in entries:
        if message.role == "assistant":
            calls, turn, index = message.tool_calls, turn + 1, 0
        elif message.role == "tool" and index < len(calls):
            key = EffectKey(run_id=run_id, step=step, model_turn=turn, index=index)
            found.append((key, calls[index], message))
            index += 1
    return found


def calls_with_results(entries: Sequence[Message]) -> list[ToolCall]:
    """The calls of a run that have been answered, oldest first."""
    return [call for _, call, _ in _answered(entries, run_id="", step="")]
