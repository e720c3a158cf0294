"""What tests and benchmarks set differently; users have no need to."""

from __future__ import annotations

from dataclasses import dataclass

from callboard.agents.engine import Engine
from callboard.clock import Clock
from callboard.ids import Ids
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.orchestrator.health_watch import SILENT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """None takes what users get."""

    clock: Clock | None = None
    ids: Ids | None = None
    engine: Engine | None = None
    breaker: BreakerSettings | None = None
    silent_seconds: float = SILENT_SECONDS
