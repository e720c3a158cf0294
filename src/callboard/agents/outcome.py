"""What one execution of a run comes to, and the questions, tasks and notes that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import JsonValue

from callboard.llm.provider import LLMResponse, Message
from callboard.llm.script import AskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used. `cost_usd` is None as soon as one model call in it had no known price."""

    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            model_calls=self.model_calls + other.model_calls,
            tool_calls=self.tool_calls + other.tool_calls,
            cost_usd=None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )

    @staticmethod
    def of(response: LLMResponse) -> Usage:
        return Usage(
            input_tokens=response.input_tokens,
            output_tokens=response.output_tokens,
            model_calls=1,
            cost_usd=response.cost_usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of what a run did, for the people who watch it or read its trace. It is stored with the checkpoint or
    the settlement that carries it, never by itself."""

    kind: str
    data: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRules:
    """Who may answer, until when, and what happens if nobody does (the `questions` key of an agent file)."""

    may_answer: tuple[str, ...] = ()
    not_requester: bool = False
    deadline_seconds: float | None = None
    on_deadline: Literal["deny", "wait", "escalate", "default"] = "deny"
    default_answer: JsonValue = None
    escalate_to: str | None = None
    remind_seconds: float | None = None


Purpose: TypeAlias = Literal["question", "approval", "budget", "repeat", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is asked. `key` is its place in the run: asked again, it is the same question.

    The pool stores it under (run, key). When it is answered already at that moment, the run is queued again instead
    of waiting (DESIGN.md, R18). `details` hold for an approval {tool, arguments, digest, why, policy?}, for a budget
    {scope, name, limit_usd, spent_usd, needed_usd}; `digest` is of the tool and the arguments that are asked about.
    """

    key: str
    kind: AskKind
    text: str
    options: tuple[str, ...] = ()
    schema: Mapping[str, JsonValue] | None = None
    purpose: Purpose = "question"
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    digest: str | None = None
    rules: QuestionRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedTask:
    """A task for another agent. `key` is its place in the run: handed again, it is the same task."""

    key: str
    agent: str
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """`messages` is all that this run adds to its conversation: the user's message, the entries, the final answer."""

    output: JsonValue
    messages: tuple[Message, ...]
    usage: Usage
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The run waits for a person; everything needed to go on is in the journal."""

    question: Question
    usage: Usage
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The run waits for a provider that is down or for other runs' reservations; costs no attempt. It goes on from the
    journal after so many seconds. `message` is for people."""

    kind: Literal["provider", "budget"]
    message: str
    seconds: float
    usage: Usage
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """The run waits for other agents' runs and goes on as soon as one of them has ended."""

    children: tuple[HandedTask, ...]
    usage: Usage
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed for a known reason. `message` is for people.

    `retryable` says that another attempt may end otherwise, not before `retry_after` seconds; whether it may start
    with a fresh context is for the pool to decide, by the ledger.
    """

    code: str
    message: str
    retryable: bool
    usage: Usage
    retry_after: float | None = None
    notes: tuple[Note, ...] = ()


Outcome: TypeAlias = Succeeded | Asked | Paused | Handed | Failed
"""Its `usage` and `notes` are what no checkpoint has carried yet: the pool stores them with the status change."""
