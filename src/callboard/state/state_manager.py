"""What agents and plans remember, by name: saves that compare versions, loads that are never older than one's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from callboard.clock import Clock
from callboard.errors import FencedError
from callboard.state.agent_state import AgentState, ExecutionResult, StateSave
from callboard.state.codec import decode, encode
from callboard.state.database import Database
from callboard.state.finishing import Settlement
from callboard.state.plans import Plan, PlanRunState, PlanStateSave
from callboard.state.runs import RunStatus
from callboard.state.sql import agent_states, plans
from callboard.state.store import Store


class StateManager:
    """The tiers of state: the database, which is the truth, and whatever cache an installation puts before it.

    Payloads are compressed above a few KiB, whatever their kind, and refused rather than stored altered.
    """

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def save_state(self, save: StateSave) -> int:
        """One more version of an agent's state; VersionConflictError unless the stored one is `save.expected`."""
        versions = await self._database.write(partial(agent_states.save_states, saves=[save], now=self._clock.now()))
        return versions[0]

    async def load_state(
        self, agent: str, conversation_id: str, *, newest: int = 200, tenant: str = "default"
    ) -> AgentState:
        """The state with its newest messages; an empty one of version 0 where nothing was saved."""
        return await self._database.read(
            partial(agent_states.load_state, tenant=tenant, agent=agent, conversation_id=conversation_id, newest=newest)
        )

    async def load_latest_agent_state(self, agent: str, *, tenant: str = "default") -> AgentState | None:
        """The agent's conversation that was written last, None for an agent that remembers nothing."""
        conversation = await self._database.read(partial(agent_states.latest_conversation, tenant=tenant, agent=agent))
        return None if conversation is None else await self.load_state(agent, conversation, tenant=tenant)

    async def save_execution_result(self, settlement: Settlement) -> RunStatus:
        """The end of a run with its result, in one transaction with all that it causes; FencedError when it is
        another owner's by now."""
        status = await self._store.settle(settlement)
        if not status.terminal and settlement.status.terminal:
            raise FencedError(f"run {settlement.run_id} did not take the status {settlement.status}")
        return status

    async def load_execution_result(self, execution_id: str) -> ExecutionResult | None:
        """The stored end of a run, None while it has none."""
        return await self._database.read(partial(agent_states.execution_result, run_id=execution_id))

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
