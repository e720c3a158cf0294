"""Autonomous agents: each run by itself, sharing nothing with any other."""

from __future__ import annotations

from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.performer import Performance
from callboard.config.catalog import CatalogEntry
from callboard.config.definition import ExecutionMode


class AutonomousAgentPool:
    """Performs a run from its input alone: no history, no memory, nothing of another run (RELIABILITY.md, I5)."""

    mode = ExecutionMode.AUTONOMOUS.value

    async def perform(self, agent: ExecutionAgent, entry: CatalogEntry, assignment: Assignment) -> Performance:
        return await self.execute_autonomous_task(agent, assignment)

    async def execute_autonomous_task(self, agent: ExecutionAgent, assignment: Assignment) -> Performance:
        return Performance(outcome=await agent.execute(assignment))
