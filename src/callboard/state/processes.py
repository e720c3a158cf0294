"""Processes and their leases: who works, and who has stopped working (DESIGN.md, R13 to R15)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process that may own runs; `beat` grows while it lives and is compared with nothing but itself."""

    id: str
    role: str
    host: str
    pid: int
    beat: int
    started_at: datetime
    beat_at: datetime
    dead: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatReply:
    """What a process learns with each beat: which of its runs somebody wants stopped."""

    cancelled: frozenset[str]
