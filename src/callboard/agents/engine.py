"""The port to an engine: what turns an agent's definition and an input into an outcome, and where it keeps its place.

An engine holds nothing between two calls. A run that is killed, that waits for an answer or that is tried again is
executed anew with the same `Work`; the journal's entries tell the engine how far it had come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from callboard.agents.journal_port import (
    BudgetScope,
    Busy,
    Done,
    Effect,
    EffectKey,
    EffectState,
    Fresh,
    Journal,
    OverBudget,
    Reservation,
    Reserved,
    Unknown,
    Unpriced,
)
from callboard.agents.outcome import (
    Asked,
    Failed,
    Handed,
    HandedTask,
    Note,
    Outcome,
    Paused,
    Purpose,
    Question,
    QuestionRules,
    Succeeded,
    Usage,
)
from callboard.agents.tools.tool import Artifacts, NoArtifacts, ToolSet
from callboard.clock import Clock
from callboard.llm.provider import LLMConfig, LLMProvider, Message
from callboard.messaging.events import Actor
from callboard.messaging.reply import ReplyTo

__all__ = [
    "Answer",
    "Asked",
    "BudgetScope",
    "Busy",
    "Done",
    "Effect",
    "EffectKey",
    "EffectState",
    "Engine",
    "Failed",
    "Fresh",
    "Handed",
    "HandedResult",
    "HandedTask",
    "Journal",
    "Note",
    "OnText",
    "Outcome",
    "OverBudget",
    "Paused",
    "Purpose",
    "Question",
    "QuestionRules",
    "Reservation",
    "Reserved",
    "Succeeded",
    "Unknown",
    "Unpriced",
    "Usage",
    "Work",
    "WorkLimits",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person said to a question: confirmation a boolean, choice one of the options, input text or JSON by its
    schema, action `{"done": …}`.

    To an approval: a boolean, or `{"approved": BOOL, "arguments"?: {…}, "reason"?: TEXT}`, where arguments are carried
    out in place of the model's. `expired`: nobody answered in time, `value` is None.
    """

    value: JsonValue
    status: Literal["answered", "expired"] = "answered"
    comment: str | None = None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedResult:
    """What became of a task that was handed to another agent: a run's terminal status, its output or why it failed."""

    status: str
    output: JsonValue = None
    error: str | None = None


class OnText(Protocol):
    """Told each piece of a model's answer while it comes, and then that no more will come of this call."""

    def begin(self) -> bool:
        """Before each model call; False where its answer is not wanted in pieces, and nothing is to be told of it.

        A stream costs a provider's client several times what a whole answer does. What began ends with `done`.
        """
        ...

    async def __call__(self, text: str) -> None:
        """The next piece. Waits for no reader and no writing: what comes of that is said by `done`."""
        ...

    async def done(self) -> None:
        """Returns when all is written; the journal is free again. Raises FencedError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """Calls count over all executions of the run's context, `max_tokens` over the whole run; sizes are in UTF-8."""

    max_tool_calls: int = 50
    max_model_calls: int = 100
    max_tokens: int | None = None
    max_same_call: int = 3
    max_result_bytes: int = 256 * 1024
    max_output_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One execution of one run.

    `history` is the conversation before this run, oldest first; `input` is the new user message, `turn` its number in
    the conversation (1 for the first). `deadline` is on `clock.monotonic()`; the pool cancels the execution then, the
    engine only plans its waits by it. `answers` holds every answered or expired question of the run by the question's
    key, `handed` every handed task that has ended by the task's key.

    `used` is what the run had used before this execution. `tainted`: the run, or another one for the same person's
    request, has read what strangers may have written. `agents` are those that a task may be handed to, if the agent's
    own list has them too; `depth` is how many runs stand above this one. `memory_scope` is with whom it shares
    what it remembers. `redact` takes secrets out of texts. With
    `on_text` the model's text is wanted piece by piece, as it comes. `window` is how many tokens the model can read at
    once.
    """

    run_id: str
    attempt: int
    agent: str
    instructions: str
    config: LLMConfig
    provider: LLMProvider
    tools: ToolSet
    input: str
    journal: Journal
    clock: Clock
    history: tuple[Message, ...] = ()
    turn: int = 1
    step: str = ""
    deadline: float | None = None
    limits: WorkLimits = field(default_factory=WorkLimits)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    handed: Mapping[str, HandedResult] = field(default_factory=dict)
    artifacts: Artifacts = field(default_factory=NoArtifacts)
    used: Usage = field(default_factory=Usage)
    tainted: bool = False
    output_schema: Mapping[str, JsonValue] | None = None
    questions: QuestionRules | None = None
    agents: frozenset[str] = frozenset()
    depth: int = 0
    tenant: str = "default"
    root_run_id: str = ""
    conversation_id: str | None = None
    memory_scope: str | None = None
    actor: Actor | None = None
    reply_to: ReplyTo | None = None
    redact: Callable[[str], str] = field(default=str)
    on_text: OnText | None = None
    window: int = 128_000


class Engine(Protocol):
    """Executes work of any number of runs concurrently.

    Ends with an outcome, or raises: FencedError when the run was taken away (nothing may be written any more),
    CancelledError when the pool cancels, and anything else as a defect of a tool, a provider or the engine, which the
    pool records as a failed attempt with its stack trace. May be cancelled at any await; what was not journalled
    counts as not having happened.
    """

    async def execute(self, work: Work) -> Outcome: ...
