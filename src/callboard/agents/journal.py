"""The journal of one claimed run over the store: fenced checkpoints, the effect ledger, signs of life."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from callboard.agents import engine
from callboard.agents.message_record import of_record, to_record
from callboard.agents.pulse import Pulse
from callboard.agents.run_budget import RunBudget
from callboard.errors import UnavailableError
from callboard.llm.provider import Message
from callboard.logs import StructuredLogger
from callboard.state.effects import Claim, EffectDraft, EffectStatus
from callboard.state.finishing import ProgressDraft
from callboard.state.journal_store import Checkpoint, JournalStore
from callboard.state.runs import Run, Usage

NO_USAGE = engine.Usage()
Spent = Callable[[float], None]


def nobody(usd: float) -> None:
    """For a journal that nobody counts."""


class RunJournal:
    """The `Journal` port for one claim of one run."""

    def __init__(
        self, store: JournalStore, run: Run, pulse: Pulse, budget: RunBudget | None = None, *, spent: Spent = nobody
    ) -> None:
        """Without a `budget` nothing holds model calls back; `spent` is told what each checkpoint has cost."""
        self._store = store
        self._budget = budget
        self._spent = spent
        self._run = run
        self._claim = Claim(run_id=run.run_id, fencing=run.fencing)
        self._pulse = pulse
        self._log = StructuredLogger("journal")

    async def entries(self) -> Sequence[Message]:
        if self._run.fencing == 1:
            return ()  # nobody has worked on it before
        records = await self._store.entries(self._run.run_id, self._run.context_no)
        return tuple(of_record(record) for record in records)

    async def append(self, messages: Sequence[Message], usage: engine.Usage, notes: Sequence[engine.Note] = ()) -> None:
        await self._store.append(self._claim, _checkpoint(messages, usage, notes))
        self._spent(usage.cost_usd or 0.0)

    async def reserve(self, call: int, worst_usd: float | None) -> engine.Reservation:
        if self._budget is None:
            return engine.Reserved(usd=worst_usd or 0.0)
        return await self._budget.reserve(call, worst_usd)

    async def begin_effect(
        self, effect: engine.Effect, *, repeat: bool = False, notes: Sequence[engine.Note] = ()
    ) -> engine.EffectState:
        known = await self._store.begin_effect(self._claim, _draft(effect), repeat=repeat, progress=progress_of(notes))
        if known is None:
            return engine.Fresh()
        if known.status is EffectStatus.DONE:
            return engine.Done(result=known.result or "")
        return engine.Unknown(fencing=known.fencing)

    async def finish_effect(
        self, effect: engine.Effect, result: str, messages: Sequence[Message], notes: Sequence[engine.Note] = ()
    ) -> None:
        checkpoint = _checkpoint(messages, NO_USAGE, notes)
        await self._store.end_effect(self._claim, _draft(effect), EffectStatus.DONE, result, checkpoint)

    async def fail_effect(
        self, effect: engine.Effect, error: str, messages: Sequence[Message], notes: Sequence[engine.Note] = ()
    ) -> None:
        checkpoint = _checkpoint(messages, NO_USAGE, notes)
        await self._store.end_effect(self._claim, _draft(effect), EffectStatus.FAILED, error, checkpoint)

    async def progress(self, kind: str, data: Mapping[str, JsonValue]) -> None:
        try:
            await self._store.add_progress(self._claim, [(kind, dict(data))])
        except UnavailableError as error:
            self._log.warning("progress is not stored", kind=kind, reason=error.message)

    def beat(self) -> None:
        self._pulse.beat(self._run.run_id)

    def busy(self, seconds: float) -> None:
        self._pulse.busy(self._run.run_id, seconds)


def _draft(effect: engine.Effect) -> EffectDraft:
    return EffectDraft(
        key=effect.key.text, tool=effect.tool, digest=effect.arguments_digest, idempotent=effect.idempotent
    )


def progress_of(notes: Sequence[engine.Note]) -> tuple[ProgressDraft, ...]:
    return tuple(ProgressDraft(kind=note.kind, data=dict(note.data)) for note in notes)


def _checkpoint(messages: Sequence[Message], usage: engine.Usage, notes: Sequence[engine.Note]) -> Checkpoint:
    return Checkpoint(
        messages=tuple(to_record(message) for message in messages),
        usage=Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens),
        cost_usd=usage.cost_usd or 0.0,
        cost_known=usage.cost_usd is not None,
        progress=progress_of(notes),
        tainted=any(message.untrusted for message in messages),
    )
