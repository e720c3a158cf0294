"""Continuous agents: one event of a conversation at a time, in order, with a memory that lasts."""

from __future__ import annotations

from dataclasses import replace

from callboard.agents.engine import Succeeded
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.message_record import of_record, to_record
from callboard.agents.pool import Performance, with_parts
from callboard.config.catalog import CatalogEntry
from callboard.config.definition import ExecutionMode
from callboard.state.agent_state import AgentState, StateSave
from callboard.state.runs import Run
from callboard.state.state_manager import StateManager

NEWEST_MESSAGES = 200
"""So many messages of a conversation are shown to the model; all are kept."""


class ContinuousAgentRunner:
    """Loads the conversation after the claim and saves it with the finish, in one transaction (DESIGN.md, R12).

    Order is the database's business: the claim hands out one run of a conversation at a time.
    """

    mode = ExecutionMode.CONTINUOUS.value

    def __init__(self, states: StateManager) -> None:
        self._states = states

    async def perform(self, agent: ExecutionAgent, entry: CatalogEntry, assignment: Assignment) -> Performance:
        return await self.process_event(agent, assignment)

    async def process_event(self, agent: ExecutionAgent, assignment: Assignment) -> Performance:
        run = assignment.run
        state = await self._states.load_state(
            run.agent, run.conversation_id or ExecutionMode.CONTINUOUS.value, newest=NEWEST_MESSAGES, tenant=run.tenant
        )
        history = tuple(of_record(record) for record in state.history)
        outcome = await agent.execute(replace(assignment, history=history, turn=state.turns + 1))
        if not isinstance(outcome, Succeeded):
            return Performance(outcome=outcome)
        return Performance(outcome=outcome, adds=with_parts(state=_next(run, state, outcome)))


def _next(run: Run, state: AgentState, outcome: Succeeded) -> StateSave:
    return StateSave(
        tenant=state.tenant,
        agent=state.agent,
        conversation_id=state.conversation_id,
        expected=state.version,
        memory=state.memory,
        appended=tuple(to_record(message) for message in outcome.messages),
        turns=state.turns + 1,
        run_id=run.run_id,
        fencing=run.fencing,
        before=state,
    )
