"""Continuous agents: one event of a conversation at a time, in order, with a memory that lasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from callboard.agents.conversation_summary import ConversationSummary, RoomMade
from callboard.agents.conversation_view import MOST_SHOWN, summarised, view_of
from callboard.agents.engine import Outcome, Succeeded
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.memory_scope import conversation_of_run
from callboard.agents.message_record import of_record, to_record
from callboard.agents.performer import Performance
from callboard.clock import Clock
from callboard.config.catalog import CatalogEntry
from callboard.config.definition import ExecutionMode
from callboard.state.agent_state import AgentState, StateSave
from callboard.state.effects import Claim
from callboard.state.finishing import Settlement
from callboard.state.journal_store import Checkpoint, JournalStore
from callboard.state.runs import Run, RunStatus
from callboard.state.state_manager import StateManager

LoadPast = Callable[[Run, int], Awaitable[AgentState | None]]
"""The conversation that a replay goes on from, with so many of its messages; None where it is the present one."""
MOST_LOADED = 2000
"""So many messages without a summary are read at most; only a single run can have added more."""


class ContinuousAgentRunner:
    """Loads the conversation after the claim and saves it with the finish, in one transaction (DESIGN.md, R12).

    Order is the database's business: the claim hands out one run of a conversation at a time. The model is shown a
    summary and the newest messages; all messages are kept. A dry run leaves nothing, and a replay is shown the
    conversation as it was.
    """

    mode = ExecutionMode.CONTINUOUS.value

    def __init__(
        self, states: StateManager, journals: JournalStore, clock: Clock, past: LoadPast | None = None
    ) -> None:
        self._states = states
        self._journals = journals
        self._past = past
        self._summary = ConversationSummary(clock)

    async def perform(self, agent: ExecutionAgent, entry: CatalogEntry, assignment: Assignment) -> Performance:
        return await self.process_event(agent, assignment)

    async def process_event(self, agent: ExecutionAgent, assignment: Assignment) -> Performance:
        state = await self._load(assignment.run)
        history = [of_record(record) for record in state.history]
        room = await self._summary.make_room(agent, assignment, view_of(state.memory, state.messages, history))
        if not assignment.tainted and any(message.untrusted for message in room.shown):
            await self._taint(assignment.run)
        outcome = await agent.execute(replace(assignment, history=room.shown, turn=state.turns + 1))
        if assignment.run.dry:
            return Performance(outcome=outcome)
        return Performance(outcome=outcome, adds=_Saves(assignment.run, state, room, outcome))

    async def _taint(self, run: Run) -> None:
        """What strangers wrote into the conversation earlier, the runs that this one causes have to know of too."""
        await self._journals.append(
            Claim(run_id=run.run_id, fencing=run.fencing), Checkpoint(messages=(), tainted=True)
        )

    async def _load(self, run: Run) -> AgentState:
        """With all the messages that no summary stands for."""
        past = None if self._past is None or run.variant is None else await self._past(run, MOST_SHOWN)
        if past is not None:
            return past
        conversation = conversation_of_run(run)
        state = await self._states.load_state(run.agent, conversation, newest=MOST_SHOWN, tenant=run.tenant)
        wanted = min(state.messages - summarised(state.memory), MOST_LOADED)
        if wanted <= MOST_SHOWN:
            return state
        return await self._states.load_state(run.agent, conversation, newest=wanted, tenant=run.tenant)


class _Saves:
    """Adds the conversation's next state to the settlement: all of it to a success, a new summary to whatever comes.

    A run that waits or is tried again keeps its conversation's turn, so the version is still the one that was loaded.
    """

    def __init__(self, run: Run, state: AgentState, room: RoomMade, outcome: Outcome) -> None:
        self._run = run
        self._state = state
        self._room = room
        self._outcome = outcome

    def __call__(self, settlement: Settlement) -> Settlement:
        state, outcome = self._state, self._outcome
        if settlement.status is RunStatus.SUCCEEDED and isinstance(outcome, Succeeded):
            appended = tuple(to_record(message) for message in outcome.messages)
            return replace(settlement, state=self._save(appended, state.turns + 1))
        if self._room.view is not None:
            return replace(settlement, state=self._save((), state.turns))
        return settlement

    def _save(self, appended: tuple[object, ...], turns: int) -> StateSave:
        state, view = self._state, self._room.view
        return StateSave(
            tenant=state.tenant,
            agent=state.agent,
            conversation_id=state.conversation_id,
            expected=state.version,
            memory=state.memory if view is None else view.memory,
            appended=appended,
            turns=turns,
            run_id=self._run.run_id,
            fencing=self._run.fencing,
            before=state,
        )
