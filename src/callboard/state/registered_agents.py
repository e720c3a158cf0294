"""Agents as people see them: what is in force in the catalog, joined with how the agent is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AgentStatus(StrEnum):
    """How an agent is (DESIGN.md, R30); all but `available` and `restarting` refuse new work."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    RESTARTING = "restarting"
    FAILED = "failed"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAgent:
    """One agent of the current catalog.

    `version` is in force, `latest` the newest one, which differs while `pinned` holds. `execution_mode` is the file's
    (it may be `scheduled`). `reason` says why the status is not `available`. `warnings` are the file's.
    """

    name: str
    version: int
    latest: int
    pinned: bool
    status: AgentStatus
    agent_type: str
    execution_mode: str
    description: str = ""
    capabilities: tuple[str, ...] = ()
    path: str = ""
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    restarts: int = 0
