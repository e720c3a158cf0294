"""Whether a call is carried out, asked about first, or refused: pure, and the same whatever the model says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from callboard.config.tool_settings import Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """It is carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A person decides; `why` is for them."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """It is refused; `why` is for the model."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the agent file says of a call by its tool and arguments, and the words for it."""

    approval: Approval
    why: str


Decision: TypeAlias = Auto | Ask | Deny
_STRICTNESS = {Approval.AUTO: 0, Approval.ASK: 1, Approval.DENY: 2}


def decision(ruling: Ruling, *, after_untrusted: Approval, exposure: str | None) -> Decision:
    """The strictest of what the file says and of what a run takes that has read what strangers wrote.

    `exposure` says how the call could carry away what such a run has read; None where it cannot, or where the run has
    read nothing of that kind (RELIABILITY.md, H2).
    """
    strictest = ruling
    if exposure is not None and _STRICTNESS[after_untrusted] > _STRICTNESS[ruling.approval]:
        why = f"the run has read what strangers may have written, and {exposure}"
        strictest = Ruling(approval=after_untrusted, why=why)
    match strictest.approval:
        case Approval.DENY:
            return Deny(why=strictest.why)
        case Approval.ASK:
            return Ask(why=strictest.why)
        case _:
            return Auto()
