"""What agents and plans remember, by name: saves that compare versions, loads that are never older than one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from callboard.clock import Clock
from callboard.errors import FencedError
from callboard.state.agent_state import AgentState, ExecutionResult, StateSave
from callboard.state.cache import Cache, NoCache, cache_key
from callboard.state.codec import decode, encode
from callboard.state.database import Database
from callboard.state.finishing import Settlement
from callboard.state.kept_records import KeptRecords
from callboard.state.plans import Plan, PlanRunState, PlanStateSave
from callboard.state.runs import RunStatus
from callboard.state.sql import agent_states, plans
from callboard.state.store import Store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN_MESSAGES = 200
"""So many of the newest messages a display copy holds."""


class StateManager:
    """The tiers of state: the database, which is the truth, and whatever cache an installation puts before it.

    Payloads are compressed above a few KiB, whatever their kind, and refused rather than stored altered. The cache is
    written after the commit and serves only what is asked for with `display`: that may be half a minute old, but never
    older than what this process itself has saved (RELIABILITY.md, I6). What never changes is kept in it too.
    """

    def __init__(self, database: Database, store: Store, clock: Clock, cache: Cache | None = None) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._cache = cache or NoCache()
        self._states = TypeAdapter(AgentState)
        self._results = KeptRecords(ExecutionResult, self._cache)
        store.on_settled(self._settled)

    async def save_state(self, save: StateSave) -> int:
        """One more version of an agent's state; VersionConflictError unless the stored one is `save.expected`."""
        now, seen_at = self._clock.now(), self._clock.monotonic()
        if save.appended:
            unit = partial(agent_states.save_states, saves=[save], now=now)
            version = (await self._database.write(unit, repeatable=True))[0]
        else:
            alone = partial(agent_states.save_memory, save=save, now=now)
            version = await self._database.write(alone, repeatable=True)
        self._saved(save, now, seen_at)
        return version

    async def load_state(
        self,
        agent: str,
        conversation_id: str,
        *,
        newest: int = SHOWN_MESSAGES,
        tenant: str = "default",
        display: bool = False,
    ) -> AgentState:
        """The state with its newest messages; an empty one of version 0 where nothing was saved.

        `display` is for people to look at: never execute from it.
        """
        key = _state_key(tenant, agent, conversation_id)
        shown = display and newest <= SHOWN_MESSAGES
        if shown and (state := self._state_of(await self._cache.copy(key))) is not None:
            return replace(state, history=state.history[max(0, len(state.history) - newest) :])
        seen_at = self._clock.monotonic()
        unit = partial(agent_states.load_state, tenant=tenant, agent=agent, conversation_id=conversation_id)
        state = await self._database.read(partial(unit, newest=SHOWN_MESSAGES if shown else newest))
        if not shown:
            return state
        if state.version:
            self._cache.put_copy(key, state.version, self._record(state), seen_at=seen_at)
        return replace(state, history=state.history[max(0, len(state.history) - newest) :])

    async def load_latest_agent_state(
        self, agent: str, *, tenant: str = "default", display: bool = False
    ) -> AgentState | None:
        """The agent's conversation that was written last, None for an agent that remembers nothing."""
        conversation = await self._latest_shown(agent, tenant) if display else None
        if conversation is None:
            seen_at = self._clock.monotonic()
            unit = partial(agent_states.latest_conversation, tenant=tenant, agent=agent)
            conversation = await self._database.read(unit)
            if conversation is None:
                return None
            state = await self.load_state(agent, conversation, tenant=tenant, display=display)
            if display and state.updated_at is not None:
                self._shown_latest(tenant, agent, conversation, state.updated_at, seen_at)
            return state
        return await self.load_state(agent, conversation, tenant=tenant, display=True)

    async def save_execution_result(self, settlement: Settlement) -> RunStatus:
        """The end of a run with its result, in one transaction with all that it causes; FencedError when it is
        another owner's by now."""
        status = await self._store.settle(settlement)
        if not status.terminal and settlement.status.terminal:
            raise FencedError(f"run {settlement.run_id} did not take the status {settlement.status}")
        return status

    async def load_execution_result(self, execution_id: str, *, tenant: str = "default") -> ExecutionResult | None:
        """The stored end of a run, None while it has none. An end never changes, so it may come from the cache."""
        key = cache_key(tenant, "execution", execution_id)
        read = partial(self._database.read, partial(agent_states.execution_result, tenant=tenant, run_id=execution_id))
        return await self._results.load(key, read, final=lambda result: True)

    async def load_plan(self, run_id: str) -> Plan | None:
        return await self._database.read(partial(plans.load_plan, run_id=run_id))

    async def load_plan_run_state(self, run_id: str) -> PlanRunState:
        """An empty one of version 0 before the plan has begun."""
        return await self._database.read(partial(plans.load_plan_state, run_id=run_id))

    async def update_plan_run_state(self, save: PlanStateSave) -> int:
        """One more version of how far a plan has come; VersionConflictError unless the stored one is the expected."""
        return await self._database.write(partial(plans.save_plan_state, save=save, now=self._clock.now()))

    @staticmethod
    def compress_data(value: Any) -> bytes:
        """The stored form of a payload; InvalidInputError for a value that would come back changed."""
        return encode(value)

    @staticmethod
    def decompress_data(data: bytes) -> Any:
        """The inverse; TooLargeError and InvalidInputError for bytes that are none of ours."""
        return decode(data)

    def _settled(self, settlement: Settlement, status: RunStatus, seen_at: float) -> None:
        # A run that ended as cancelled instead has saved nothing.
        if settlement.state is not None and status == settlement.status:
            self._saved(settlement.state, settlement.now, seen_at)

    def _saved(self, save: StateSave, now: datetime, seen_at: float) -> None:
        """The cache learns the new version, whole where the save says what it was made from."""
        key = _state_key(save.tenant, save.agent, save.conversation_id)
        state = _after(save, now)
        make = None if state is None else self._record(state)
        self._cache.put_copy(key, save.expected + 1, make, seen_at=seen_at)
        self._shown_latest(save.tenant, save.agent, save.conversation_id, now, seen_at)

    def _shown_latest(self, tenant: str, agent: str, conversation: str, written_at: datetime, seen_at: float) -> None:
        """Ordered by the time that the database orders conversations by."""
        version = (written_at - EPOCH) // timedelta(microseconds=1)
        self._cache.put_copy(_latest_key(tenant, agent), version, partial(orjson.dumps, conversation), seen_at=seen_at)

    async def _latest_shown(self, agent: str, tenant: str) -> str | None:
        found = await self._cache.copy(_latest_key(tenant, agent))
        return found if isinstance(found, str) else None

    def _record(self, state: AgentState) -> Callable[[], bytes]:
        return partial(self._states.dump_json, state)

    def _state_of(self, record: Any) -> AgentState | None:
        if record is None:
            return None
        try:
            return self._states.validate_python(record)
        except ValidationError:
            return None  # another release's form


def _state_key(tenant: str, agent: str, conversation_id: str) -> str:
    return cache_key(tenant, "state", agent, conversation_id)


def _latest_key(tenant: str, agent: str) -> str:
    return cache_key(tenant, "latest-state", agent)


def _after(save: StateSave, now: datetime) -> AgentState | None:
    """The state that a save leaves, as a load would give it."""
    before = save.before
    if before is None or before.version != save.expected:
        return None
    history = (*before.history, *save.appended)
    return AgentState(
        tenant=save.tenant,
        agent=save.agent,
        conversation_id=save.conversation_id,
        version=save.expected + 1,
        turns=save.turns,
        messages=before.messages + len(save.appended),
        memory=save.memory,
        history=history[-SHOWN_MESSAGES:],
        run_id=save.run_id,
        updated_at=now,
    )
