"""The records that a replay is made from, and those that it is compared by; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from callboard.state.agent_state import AgentState
from callboard.state.database import Database
from callboard.state.effects import EffectRecord
from callboard.state.runs import Run, RunResult
from callboard.state.sql import journal, replaying
from callboard.state.story import ProgressLine


class ReplayStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(self, run_id: str, context_no: int) -> Sequence[Any]:
        """What a run checkpointed in that context, oldest first."""
        return await self._database.read(partial(journal.entries, run_id=run_id, context_no=context_no))

    async def effects(self, run_id: str, context_no: int) -> Sequence[EffectRecord]:
        """The ledger of that context."""
        return await self._database.read(partial(replaying.effects_of, run_id=run_id, context_no=context_no))

    async def family(self, run_id: str) -> Sequence[RunResult]:
        """The run with its steps, the tasks that they handed on, and all under these; oldest first."""
        return await self._database.read(partial(replaying.family_of, run_id=run_id))

    async def lines(self, run_ids: Sequence[str], kinds: Sequence[str]) -> Sequence[ProgressLine]:
        """What the runs have noted of these kinds, oldest first."""
        return await self._database.read(partial(replaying.lines_of, run_ids=run_ids, kinds=kinds))

    async def keys(self, run_id: str, kinds: Sequence[str]) -> frozenset[str]:
        """The places of the run that lines of these kinds are about."""
        return await self._database.read(partial(replaying.keys_noted, run_id=run_id, kinds=kinds))

    async def conversation_before(self, run: Run, conversation_id: str, newest: int) -> AgentState:
        """The conversation as it was when the run began."""
        unit = partial(
            replaying.conversation_before,
            tenant=run.tenant,
            agent=run.agent,
            conversation_id=conversation_id,
            run_id=run.run_id,
            begun=run.started_at or run.created_at,
            newest=newest,
        )
        return await self._database.read(unit)
