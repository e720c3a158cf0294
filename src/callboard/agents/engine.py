"""The port to an engine: what turns an agent's definition and an input into an outcome, and where it keeps its place.

An engine holds nothing between two calls. A run that is killed, that waits for an answer or that is tried again is
executed anew with the same `Work`; the journal's entries tell the engine how far it had come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from pydantic import JsonValue

from callboard.agents.tools.tool import Artifacts, NoArtifacts, ToolSet
from callboard.clock import Clock
from callboard.ids import derive_id
from callboard.llm.provider import LLMConfig, LLMProvider, LLMResponse, Message
from callboard.llm.script import AskKind
from callboard.messaging.events import Actor
from callboard.messaging.reply import ReplyTo


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
class EffectKey:
    """Which call of a run this is (DESIGN.md, rule 6). `step` is the path of a step with its iteration, "" without.

    `model_turn` counts the model's answers in this run from 0, `index` the calls inside that answer.
    """

    run_id: str
    step: str = ""
    model_turn: int
    index: int

    @property
    def text(self) -> str:
        """Unique within its run."""
        return f"{self.step}/{self.model_turn}/{self.index}"

    @property
    def digest(self) -> str:
        """Unique everywhere and the same after any restart: what a tool sends as its Idempotency-Key."""
        return derive_id("effect", self.run_id, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A tool call as the ledger knows it; `arguments_digest` tells two calls under one key apart."""

    key: EffectKey
    tool: str
    arguments_digest: str
    idempotent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """Nobody began this effect: it is now recorded as attempting, the caller must carry it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The effect has happened; this was its result."""

    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It was begun under that fencing number and never ended: it may have happened or not."""

    fencing: int


EffectState: TypeAlias = Fresh | Done | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The call may be made; what it really costs is settled with the checkpoint or the end of this claim."""

    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """The call could pass a limit: `spent_usd` is behind it, `needed_usd` the worst that this call may cost.

    `name` says whose limit: the run's id, the agent, the channel, empty for the whole installation. `raised` counts
    how often people have raised it today (for a run: ever), so that the next question is a new one. `day` is the day
    of UTC that the limit is for, empty for a run's.
    """

    scope: BudgetScope
    name: str
    day: str = ""
    limit_usd: float
    spent_usd: float
    needed_usd: float
    raised: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """There is enough, but calls of other runs under way have reserved it: to be asked for again later."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """Nobody knows what the model costs, and that is refused: because of a `budget`, or everywhere."""

    budget: bool


BudgetScope: TypeAlias = Literal["run", "agent", "channel", "user", "global"]
Reservation: TypeAlias = Reserved | OverBudget | Busy | Unpriced


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of what a run did, for the people who watch it or read its trace. It is stored with the checkpoint or
    the settlement that carries it, never by itself."""

    kind: str
    data: Mapping[str, JsonValue]


class Journal(Protocol):
    """The durable side of one run under one claim.

    Every coroutine but `entries` and `progress` is one transaction that holds only while the run is still owned under
    this fencing number and `running`; else it raises FencedError and the engine must stop at once (it lets the error
    pass). "Context" below is what a retry with a fresh context leaves behind: such a retry starts with no entries and
    no effects. Calls are made one at a time, never concurrently, but for `beat` and `busy`.
    """

    async def entries(self) -> Sequence[Message]:
        """All messages appended in this context, by this claim or earlier ones, in the order of their appending."""
        ...

    async def append(self, messages: Sequence[Message], usage: Usage, notes: Sequence[Note] = ()) -> None:
        """Checkpoint: add the messages to the entries, the usage to the run's totals and the notes to its progress, all
        or nothing. Usage settles what was reserved so far, at what it really cost."""
        ...

    async def reserve(self, call: int, worst_usd: float | None) -> Reservation:
        """Ask to make a model call that costs at most so much (None: nobody knows); only `Reserved` allows it.

        `call` numbers the model calls of this claim from 0. Not needed for a call that costs nothing. What is reserved
        and never settled, because the process was lost, counts as spent.
        """
        ...

    async def begin_effect(self, effect: Effect, *, repeat: bool = False, notes: Sequence[Note] = ()) -> EffectState:
        """Ask to carry out a tool call that is not idempotent; only `Fresh` allows it, and stores the notes.

        - no entry under the key: insert `attempting` with this fencing number → Fresh
        - `done` → Done(result)
        - `attempting`, under whatever fencing number → Unknown(that number); with `repeat` (a person has allowed it)
          the entry moves to this fencing number → Fresh
        - `failed`: it certainly did not happen; the entry becomes `attempting` under this number → Fresh
        - another tool or arguments digest than stored: ConflictError (`effect_mismatch`), a defect
        """
        ...

    async def finish_effect(
        self, effect: Effect, result: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        """Record `done` with its result (inserting the entry of an idempotent tool, which was never begun), append
        the messages and notes and count one tool call, all in one transaction. A second call under the same key is a
        no-op."""
        ...

    async def fail_effect(
        self, effect: Effect, error: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        """Record `failed` (inserting if needed), append the messages and notes and count one tool call, in one
        transaction: either it certainly did not happen, or a person has decided not to repeat it."""
        ...

    async def progress(self, kind: str, data: Mapping[str, JsonValue]) -> None:
        """Tell people how far it is. In order; may be written late or lost in a crash, never fails the run."""
        ...

    def beat(self) -> None:
        """The run is alive now. Cheap, never raises, ends what `busy` announced."""
        ...

    def busy(self, seconds: float) -> None:
        """One bounded call begins that may take so long without a beat: silence until then is no sign of death."""
        ...


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


class OnText(Protocol):
    """Told each piece of a model's answer while it comes; must not raise."""

    async def __call__(self, text: str) -> None: ...


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
    own list has them too; `depth` is how many runs stand above this one. `redact` takes secrets out of texts. With
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
    actor: Actor | None = None
    reply_to: ReplyTo | None = None
    redact: Callable[[str], str] = field(default=str)
    on_text: OnText | None = None
    window: int = 128_000


Purpose: TypeAlias = Literal["question", "approval", "budget", "repeat", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is asked. `key` is its place in the run: asked again, it is the same question.

    The pool stores it under (run, key). When it is answered already at that moment, the run is queued again instead
    of waiting (DESIGN.md, R18). `details` hold for an approval {tool, arguments, digest, why}, for a budget {scope,
    name, limit_usd, spent_usd, needed_usd}; `digest` is of the tool and the arguments that are asked about.
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


class Engine(Protocol):
    """Executes work of any number of runs concurrently.

    Ends with an outcome, or raises: FencedError when the run was taken away (nothing may be written any more),
    CancelledError when the pool cancels, and anything else as a defect of a tool, a provider or the engine, which the
    pool records as a failed attempt with its stack trace. May be cancelled at any await; what was not journalled
    counts as not having happened.
    """

    async def execute(self, work: Work) -> Outcome: ...
