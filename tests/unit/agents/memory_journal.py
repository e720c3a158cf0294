"""A journal in memory that keeps the port's promises, so that an engine can be killed and resumed in one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from callboard.agents.engine import Done, Effect, EffectState, Fresh, Note, Reservation, Reserved, Unknown, Usage
from callboard.errors import ConflictError, FencedError
from callboard.llm.provider import Message


@dataclass
class Ledger:
    """What a database would hold of one run."""

    messages: list[Message] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    effects: dict[str, tuple[Effect, str, int, str]] = field(default_factory=dict)
    owner: int = 0
    writes: int = 0
    fail_after_writes: int | None = None


class KilledError(BaseException):
    """The process is gone: no code of the engine may catch it."""


class MemoryJournal:
    """One claim of the run; making another one fences this one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.owner += 1
        self.fencing = ledger.owner
        self.progressed: list[tuple[str, Mapping[str, JsonValue]]] = []
        self.notes: list[Note] = []
        self.reserved: list[tuple[int, float | None]] = []
        self.reservation: Reservation | None = None
        self.silences: list[float] = []
        self.beats = 0

    async def entries(self) -> Sequence[Message]:
        return list(self._ledger.messages)

    async def append(self, messages: Sequence[Message], usage: Usage, notes: Sequence[Note] = ()) -> None:
        self._write()
        self._note(notes)
        self._ledger.messages += messages
        self._ledger.usage += usage

    async def reserve(self, call: int, worst_usd: float | None) -> Reservation:
        self.reserved.append((call, worst_usd))
        return self.reservation or Reserved(usd=worst_usd or 0.0)

    async def begin_effect(self, effect: Effect, *, repeat: bool = False, notes: Sequence[Note] = ()) -> EffectState:
        self._write()
        known = self._ledger.effects.get(effect.key.text)
        if known is not None:
            stored, status, fencing, result = known
            if stored != effect:
                raise ConflictError(f"{effect} is not {stored}", code="effect_mismatch")
            if status == "done":
                return Done(result=result)
            if status == "attempting" and not repeat:
                return Unknown(fencing=fencing)
        self._ledger.effects[effect.key.text] = (effect, "attempting", self.fencing, "")
        self._note(notes)
        return Fresh()

    async def finish_effect(
        self, effect: Effect, result: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        self._end(effect, "done", result, messages)
        self._note(notes)

    async def fail_effect(
        self, effect: Effect, error: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        self._end(effect, "failed", error, messages)
        self._note(notes)

    async def progress(self, kind: str, data: Mapping[str, JsonValue]) -> None:
        self.progressed.append((kind, data))

    def beat(self) -> None:
        self.beats += 1

    def busy(self, seconds: float) -> None:
        self.silences.append(seconds)

    def _note(self, notes: Sequence[Note]) -> None:
        self.notes += notes

    def _end(self, effect: Effect, status: str, result: str, messages: Sequence[Message]) -> None:
        self._write()
        known = self._ledger.effects.get(effect.key.text)
        if known is not None and known[1] == "done":
            return
        self._ledger.effects[effect.key.text] = (effect, status, self.fencing, result)
        self._ledger.messages += messages
        self._ledger.usage += Usage(tool_calls=1)

    def _write(self) -> None:
        if self._ledger.owner != self.fencing:
            raise FencedError("the run has another owner")
        if self._ledger.fail_after_writes is not None and self._ledger.writes >= self._ledger.fail_after_writes:
            raise KilledError
        self._ledger.writes += 1
