"""Where an engine keeps its place: the durable side of one run under one claim, and the records it speaks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from pydantic import JsonValue

from callboard.agents.outcome import Note, Usage
from callboard.ids import derive_id
from callboard.llm.provider import Message


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
