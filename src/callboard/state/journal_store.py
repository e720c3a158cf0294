"""A run's own writes, as verbs: every one is refused with FencedError once the claim is gone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from callboard.clock import Clock
from callboard.state.database import Database
from callboard.state.effects import Claim, EffectDraft, EffectRecord, EffectStatus
from callboard.state.finishing import ProgressDraft
from callboard.state.sql import journal
from callboard.state.sql.journal import Checkpoint

__all__ = ["Checkpoint", "JournalStore"]


class JournalStore:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def entries(self, run_id: str, context_no: int) -> Sequence[Any]:
        return await self._database.read(partial(journal.entries, run_id=run_id, context_no=context_no))

    async def append(self, claim: Claim, checkpoint: Checkpoint) -> None:
        await self._database.write(partial(journal.append, claim=claim, checkpoint=checkpoint, now=self._clock.now()))

    async def begin_effect(
        self, claim: Claim, draft: EffectDraft, *, repeat: bool, progress: Sequence[ProgressDraft] = ()
    ) -> EffectRecord | None:
        """None: make the call. Else what the ledger knows of it."""
        return await self._database.write(
            partial(
                journal.begin_effect,
                claim=claim,
                draft=draft,
                now=self._clock.now(),
                repeat=repeat,
                progress=progress,
            )
        )

    async def end_effect(
        self, claim: Claim, draft: EffectDraft, status: EffectStatus, result: str, checkpoint: Checkpoint
    ) -> None:
        await self._database.write(
            partial(
                journal.end_effect,
                claim=claim,
                draft=draft,
                status=status,
                result=result,
                checkpoint=checkpoint,
                now=self._clock.now(),
            )
        )

    async def has_lasting_effect(self, run_id: str, context_no: int) -> bool:
        return await self._database.read(partial(journal.has_lasting_effect, run_id=run_id, context_no=context_no))

    async def is_tainted(self, tenant: str, trace_id: str, *, dry_root: str | None = None) -> bool:
        """Whether any run for the same request has been shown what strangers may have written; of a rehearsal, any run
        under its first one."""
        unit = partial(journal.is_tainted, tenant=tenant, trace_id=trace_id, dry_root=dry_root)
        return await self._database.read(unit)

    async def add_progress(self, claim: Claim, lines: Sequence[tuple[str, dict[str, Any]]]) -> None:
        await self._database.write(partial(journal.add_progress, claim=claim, lines=lines, now=self._clock.now()))
