"""An engine for runs that must do nothing in the world: dry runs, and replays of what was recorded.

The engine inside is the same as for any run. Its tools answer from the recording, really read, or say what they would
have done; its questions are answered from the recording or as a rehearsal would have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from callboard.agents.engine import (
    Answer,
    Asked,
    Effect,
    EffectState,
    Engine,
    Handed,
    HandedResult,
    Journal,
    Note,
    Outcome,
    Reservation,
    Usage,
    Work,
)
from callboard.agents.recording import Recording
from callboard.agents.rehearsed_tool import rehearsed_tools
from callboard.agents.stage import CARRIED_OUT, Stage
from callboard.llm.provider import Message

_MONEY = frozenset({"budget"})
"""Questions that are asked in earnest: a rehearsal's model calls cost what others cost."""


class RehearsingEngine:
    """Executes work of dry runs; ends with a question about money, or with whatever the engine inside ends with."""

    def __init__(self, engine: Engine, recording: Recording) -> None:
        self._engine = engine
        self._recording = recording

    async def execute(self, work: Work) -> Outcome:
        entries = await work.journal.entries()
        stage = Stage(self._recording, entries, work.redact)
        answers: dict[str, Answer] = dict(work.answers)
        handed: dict[str, HandedResult] = dict(work.handed)
        stage.handed(handed)
        on_stage = replace(
            work,
            tools=rehearsed_tools(work.tools, stage),
            journal=RehearsedJournal(work.journal, stage, entries),
            answers=answers,
            handed=handed,
        )
        while True:
            outcome = await self._engine.execute(on_stage)
            stage.note(*outcome.notes)
            match outcome:
                case Asked(question=question) if question.purpose not in _MONEY and question.key not in answers:
                    answers[question.key] = stage.answer(question)
                case Handed(children=tasks) if (known := stage.ended(tasks)) and known.keys() - handed.keys():
                    handed |= known
                case _:
                    return replace(outcome, notes=stage.notes())
            if outcome.usage != Usage():
                await work.journal.append([], outcome.usage)


class RehearsedJournal:
    """The run's journal, but that the ledger knows only calls that were really made, and that an engine which is
    executed again within one claim finds what it has appended in that claim."""

    def __init__(self, journal: Journal, stage: Stage, entries: Sequence[Message]) -> None:
        self._journal = journal
        self._stage = stage
        self._entries = list(entries)

    async def entries(self) -> Sequence[Message]:
        return tuple(self._entries)

    async def append(self, messages: Sequence[Message], usage: Usage, notes: Sequence[Note] = ()) -> None:
        await self._journal.append(messages, usage, [*self._stage.notes(), *notes])
        self._entries += messages

    async def reserve(self, call: int, worst_usd: float | None) -> Reservation:
        return await self._journal.reserve(call, worst_usd)

    async def begin_effect(self, effect: Effect, *, repeat: bool = False, notes: Sequence[Note] = ()) -> EffectState:
        raise AssertionError(f"a rehearsal begins no effect, and {effect.tool} is one")

    async def finish_effect(
        self, effect: Effect, result: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        if self._stage.how(effect) == CARRIED_OUT:
            await self._journal.finish_effect(effect, result, messages, [*self._stage.notes(), *notes])
            self._entries += messages
        else:
            await self.append(messages, Usage(), notes)

    async def fail_effect(
        self, effect: Effect, error: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        if self._stage.how(effect) == CARRIED_OUT:
            await self._journal.fail_effect(effect, error, messages, [*self._stage.notes(), *notes])
            self._entries += messages
        else:
            await self.append(messages, Usage(), notes)

    async def progress(self, kind: str, data: Mapping[str, JsonValue]) -> None:
        await self._journal.progress(kind, data)

    def beat(self) -> None:
        self._journal.beat()

    def busy(self, seconds: float) -> None:
        self._journal.busy(seconds)
