"""Statuses and signs of life of agents, as verbs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from callboard.clock import Clock
from callboard.ids import Ids
from callboard.messaging.events import Actor
from callboard.state.agent_health import AgentBeat, AgentStatusRecord, Availability
from callboard.state.announcer import Announcer
from callboard.state.database import Database
from callboard.state.registered_agents import AgentStatus
from callboard.state.sql import agent_health


class AgentHealthStore:
    def __init__(
        self, database: Database, announcer: Announcer, clock: Clock, ids: Ids, *, tenant: str = "default"
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._ids = ids
        self._tenant = tenant

    async def statuses(self) -> dict[str, AgentStatusRecord]:
        """Those on record, by agent."""
        records = await self._database.read(partial(agent_health.list_statuses, tenant=self._tenant))
        return {record.agent: record for record in records}

    async def set_status(
        self, agent: str, status: AgentStatus, actor: Actor, *, reason: str | None = None, restarts: int = 0
    ) -> None:
        """Puts it on record and announces `agent.status.<agent>`."""
        wanted = AgentStatusRecord(
            agent=agent, status=status, reason=reason, restarts=restarts, updated_at=self._clock.now()
        )
        told = await self._database.write(
            partial(
                agent_health.set_status,
                tenant=self._tenant,
                wanted=wanted,
                actor=actor,
                trace_id=self._ids.new(),
            )
        )
        self._announcer.offer(told)

    async def report_availability(self, process_id: str, found: Sequence[Availability]) -> None:
        """What a process says of agents. Those that no living process can execute are on record as unavailable, the
        others are not, which is announced where it changes; any other status stays."""
        told = await self._database.write(
            partial(
                agent_health.report_availability,
                tenant=self._tenant,
                process_id=process_id,
                found=found,
                now=self._clock.now(),
                trace_id=self._ids.new(),
            )
        )
        self._announcer.offer(told)

    async def save_beats(self, beats: Sequence[AgentBeat]) -> Sequence[AgentBeat]:
        """Signs of life of one process's agents; gives back which of them are to be made anew."""
        return await self._database.write(
            partial(agent_health.save_beats, tenant=self._tenant, beats=beats, now=self._clock.now())
        )

    async def beats(self) -> Sequence[AgentBeat]:
        """Every agent in every living pool process."""
        return await self._database.write(partial(agent_health.list_beats, tenant=self._tenant))

    async def want_restart(self, beat: AgentBeat) -> AgentStatusRecord | None:
        """Asks the agent's process to make it anew, or declares it failed after the third time.

        None where somebody else has asked since `beat` was read.
        """
        record, told = await self._database.write(
            partial(
                agent_health.want_restart,
                tenant=self._tenant,
                beat=beat,
                now=self._clock.now(),
                trace_id=self._ids.new(),
            )
        )
        self._announcer.offer(told)
        return record
