"""The orchestrator: events to agents, agents to health, one object to start and to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from callboard.logs import StructuredLogger
from callboard.messaging.event_bus import EventBus
from callboard.messaging.topology import ALL_AGENT_STATUSES
from callboard.orchestrator.dispatcher import Dispatcher
from callboard.orchestrator.health_watch import HealthWatch
from callboard.orchestrator.registry import AgentRegistry
from callboard.state.registered_agents import AgentStatus, RegisteredAgent


class AgentOrchestrator:
    """Runs the dispatcher and the health watch, and keeps the registry's statuses fresh."""

    def __init__(self, registry: AgentRegistry, dispatcher: Dispatcher, watch: HealthWatch, bus: EventBus) -> None:
        self.registry = registry
        self._dispatcher = dispatcher
        self._watch = watch
        self._statuses_changed = bus.listen([ALL_AGENT_STATUSES])
        self._log = StructuredLogger("agent-orchestrator")

    async def initialize(self) -> Sequence[RegisteredAgent]:
        """Loads the registry and says who is there and who cannot work."""
        agents = await self.registry.get_agent_registry()
        for agent in agents:
            if agent.status is AgentStatus.UNAVAILABLE:
                self._log.warning("agent unavailable", agent_id=agent.name, reason=agent.reason)
        self._log.info("agents registered", agents=len(agents))
        return agents

    async def run(self) -> None:
        """For ever; ends with the first of its loops that fails."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._dispatcher.run(), name="dispatcher")
            loops.create_task(self._dispatcher.poll(), name="dispatcher poll")
            loops.create_task(self._watch.run(), name="health watch")
            loops.create_task(self.registry.follow(self._statuses_changed), name="agent statuses")
