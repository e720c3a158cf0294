"""What a continuous agent remembers of one conversation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """Memory, the last messages and how many there were.

    `version` grows by one with each event that was applied and is what a save is compared with; `turns` counts the
    user's messages over the whole conversation, `messages` all of them, of which `history` holds the newest.
    """

    agent: str
    conversation_id: str
    version: int = 0
    turns: int = 0
    messages: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    history: tuple[Any, ...] = ()
    run_id: str | None = None
    updated_at: datetime | None = None
    tenant: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSave:
    """One step of an agent's state: refused with VersionConflictError unless the stored version is `expected`.

    `before` is the state that was loaded, if it was loaded with its newest messages: it spares readers the database.
    """

    agent: str
    conversation_id: str
    expected: int
    memory: dict[str, Any]
    appended: tuple[Any, ...]
    turns: int
    run_id: str | None = None
    fencing: int = 0
    before: AgentState | None = None
    tenant: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """The stored end of one execution; `execution_id` is the run's id."""

    execution_id: str
    agent_id: str
    status: str
    output: Any
    error: dict[str, Any] | None
    cost_usd: float
    finished_at: datetime | None
