"""The registry: the catalog in force joined with how its agents are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from callboard.clock import Clock
from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.definition import AgentDefinition
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.events import Actor
from callboard.messaging.wakeup import WakeUp
from callboard.state.agent_health import AgentStatusRecord, Refusal
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.registered_agents import AgentStatus, RegisteredAgent

SETTLES_SECONDS = 10.0
"""For so long after an agent became unavailable the processes that could execute it may still be about to say so: one
reads a new tool before another. Accepted runs wait meanwhile."""
REFUSING = (AgentStatus.UNAVAILABLE, AgentStatus.FAILED, AgentStatus.PAUSED)


class AgentRegistry:
    """Who there is and whether they take work. Statuses are as new as the last `refresh`."""

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        health: AgentHealthStore,
        why_unavailable: Callable[[AgentDefinition], str | None],
        clock: Clock,
        *,
        believes_reports: bool = False,
    ) -> None:
        """A process that executes agents knows for itself which cannot work; any other believes what such reported."""
        self._catalog = catalog
        self._health = health
        self._why_unavailable = why_unavailable
        self._clock = clock
        self._believes_reports = believes_reports
        self._statuses: dict[str, AgentStatusRecord] = {}
        self._log = StructuredLogger("agent-registry")

    async def refresh(self) -> None:
        self._statuses = await self._health.statuses()

    async def follow(self, changed: WakeUp) -> None:
        """Refreshes for ever, whenever it is told that a status has changed."""
        while True:
            await changed.wait()
            try:
                await self.refresh()
            except UnavailableError as error:
                self._log.warning("agent statuses stay as they are", reason=error.message)

    def names(self) -> Collection[str]:
        return self._catalog().agents.keys()

    def availability(self, agent: str) -> str | None:
        """Why the agent takes no new work, None when it does or is not known."""
        entry = self._catalog().get(agent)
        if entry is None:
            return None
        status, reason = self._status(entry)
        return (reason or f"agent {agent} is {status}") if status in REFUSING else None

    def refusal(self, agent: str) -> Refusal | None:
        """Why this process cannot work on a run of the agent that is queued already; a pause only holds it back."""
        entry = self._catalog().get(agent)
        if entry is None:
            return None
        status, reason = self._status(entry)
        if status not in (AgentStatus.UNAVAILABLE, AgentStatus.FAILED):
            return None
        everywhere = status is AgentStatus.FAILED or self._unavailable_for_long(agent)
        return Refusal(reason=reason or f"agent {agent} is {status}", everywhere=everywhere)

    def _unavailable_for_long(self, agent: str) -> bool:
        record = self._statuses.get(agent)
        settled = self._clock.now() - timedelta(seconds=SETTLES_SECONDS)
        return record is not None and record.status is AgentStatus.UNAVAILABLE and record.updated_at <= settled

    async def list(self) -> Sequence[RegisteredAgent]:
        return await self.get_agent_registry()

    async def get_agent_registry(
        self, *, status: AgentStatus | None = None, agent_type: str | None = None, mode: str | None = None
    ) -> Sequence[RegisteredAgent]:
        """A snapshot by name, only those of a status, a type or an execution mode where one is given."""
        await self.refresh()
        catalog = self._catalog()
        agents = [self._registered(catalog, entry) for entry in catalog]
        return [
            agent
            for agent in agents
            if (status is None or agent.status is status)
            and (agent_type is None or agent.agent_type == agent_type)
            and (mode is None or agent.execution_mode == mode)
        ]

    async def pause(self, agent: str, actor: Actor) -> None:
        """No run of it is claimed any more, new work is refused; NotFoundError."""
        self._catalog().agent(agent)
        reason = f"agent {agent} was paused by {actor.id}"
        await self._health.set_status(agent, AgentStatus.PAUSED, actor, reason=reason)
        await self.refresh()

    async def resume(self, agent: str, actor: Actor) -> None:
        """Takes back a pause, and a failure with its restarts; NotFoundError."""
        self._catalog().agent(agent)
        await self._health.set_status(agent, AgentStatus.AVAILABLE, actor)
        await self.refresh()

    def _status(self, entry: CatalogEntry) -> tuple[AgentStatus, str | None]:
        record = self._statuses.get(entry.name)
        if record is not None and record.status not in (AgentStatus.AVAILABLE, AgentStatus.UNAVAILABLE):
            return record.status, record.reason
        reason = self._why_unavailable(entry.definition)
        if record is not None and record.status is AgentStatus.UNAVAILABLE and self._believes_reports:
            reason = reason or record.reason or f"agent {entry.name} is unavailable"
        return (AgentStatus.AVAILABLE, None) if reason is None else (AgentStatus.UNAVAILABLE, reason)

    def _registered(self, catalog: Catalog, entry: CatalogEntry) -> RegisteredAgent:
        definition = entry.definition
        status, reason = self._status(entry)
        record = self._statuses.get(entry.name)
        return RegisteredAgent(
            name=entry.name,
            version=entry.version,
            latest=entry.latest,
            pinned=entry.pinned,
            status=status,
            agent_type=definition.agent_type,
            execution_mode=definition.execution_mode.value,
            description=definition.description,
            capabilities=tuple(definition.capabilities),
            path=entry.path,
            reason=reason,
            warnings=catalog.warnings(entry.name),
            restarts=0 if record is None else record.restarts,
        )
