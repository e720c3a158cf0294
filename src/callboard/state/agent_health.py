"""How agents are: statuses that people or the health watch have set, and signs of life from the pools."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from callboard.state.registered_agents import AgentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatusRecord:
    """A status that is on record; an agent without one is available as far as anybody knows."""

    agent: str
    status: AgentStatus
    reason: str | None
    restarts: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBeat:
    """One agent in one pool process: how many runs it has, a number that grows while it lives, and how often it was
    made anew (`generation`) or is to be (`wanted_generation`)."""

    agent: str
    process_id: str
    active: int
    progress: int
    generation: int = 0
    wanted_generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a process that executes an agent can: the reason why not, such as a missing key, or None."""

    agent: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a process cannot work on a run that is queued already; `everywhere`: nor can any other."""

    reason: str
    everywhere: bool
