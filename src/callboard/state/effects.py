"""The effect ledger's records: tool calls that changed the world, or tried to (DESIGN.md, rule 6)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EffectStatus(StrEnum):
    ATTEMPTING = "attempting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRecord:
    """One call as the ledger has it. Attempting under an older fencing number than the present one means unknown."""

    key: str
    tool: str
    digest: str
    idempotent: bool
    status: EffectStatus
    fencing: int
    result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDraft:
    """A call that is about to be made, or has been."""

    key: str
    tool: str
    digest: str
    idempotent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Whose hands a run is in: what every write of a running run is conditional on."""

    run_id: str
    fencing: int
