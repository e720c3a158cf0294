"""Deliveries: messages that are owed to people, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from callboard.ids import derive_id
from callboard.messaging.reply import ReplyTo

MAX_REPEATS = 3
"""So often a message is said again, and says so, where nobody can tell whether it arrived; with the first attempt that
stays below the five uses of a response URL. Without a bound a Slack that swallows its answers would be flooded."""

_UUID_PARTS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))


class DeliveryStatus(StrEnum):
    """`attempting` is written before the request leaves; `unknown` means that nobody can say whether it arrived."""

    PLANNED = "planned"
    ATTEMPTING = "attempting"
    SENT = "sent"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDraft:
    """A message that is to be sent once; drafts with one id are one message.

    What it says is read when it is sent: from the run (`result`, `failure`), from the clarification (`question`,
    `reminder`, and `answered`, which edits the message that `body` leads to), from the artifact that `body` names
    (`file`), or from `body` (`notice`).
    """

    id: str
    kind: str
    target: ReplyTo
    trace_id: str
    run_id: str | None = None
    event_id: str | None = None
    clarification_id: str | None = None
    body: dict[str, Any] | None = None
    tenant: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery as the database has it.

    `attempt` counts the claims and is the fencing number of the latest. `interrupted` says that an earlier attempt got
    as far as the network and its outcome was never written: look whether the message is there before sending it.
    `url_uses` is how often the target's response URL has been tried, for this delivery and for others.
    """

    seq: int
    id: str
    tenant: str
    kind: str
    target: ReplyTo
    trace_id: str
    run_id: str | None
    event_id: str | None
    clarification_id: str | None
    body: dict[str, Any] | None
    status: DeliveryStatus
    attempt: int
    next_try: datetime
    created_at: datetime
    sent_ts: str | None = None
    error: dict[str, Any] | None = None
    interrupted: bool = False
    url_uses: int = 0

    @property
    def repeats(self) -> str | None:
        """The delivery with an unknown outcome that this one says again."""
        return (self.body or {}).get("repeats")

    @property
    def may_be_repeated(self) -> bool:
        """Whether it is said again when its own outcome is unknown."""
        return self._repeat_number < MAX_REPEATS

    @property
    def _repeat_number(self) -> int:
        return int((self.body or {}).get("repeat_number", 0))

    @property
    def client_msg_id(self) -> str:
        """A UUID that stays the same over all attempts."""
        first, second, third, fourth, last = (self.id[a:b] for a, b in _UUID_PARTS)
        return f"{first}-{second}-{third}-{fourth}-{last}"

    def repeat(self) -> DeliveryDraft:
        """The same message once more, marked as a possible repeat."""
        return DeliveryDraft(
            id=derive_id("repeat", self.id),
            kind=self.kind,
            target=self.target,
            trace_id=self.trace_id,
            run_id=self.run_id,
            event_id=self.event_id,
            clarification_id=self.clarification_id,
            body={**(self.body or {}), "repeats": self.id, "repeat_number": self._repeat_number + 1},
            tenant=self.tenant,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOutcome:
    """What an attempt came to.

    SENT, FAILED and UNKNOWN end the delivery. PLANNED tries again at `next_try`, ATTEMPTING too, but after looking
    whether this attempt has arrived. `hold_until` closes the target's pace key for every delivery until then. `target`
    replaces the target and leaves the place in the thread's order as it is. `follow_up` is planned in the same
    transaction.
    """

    status: DeliveryStatus
    next_try: datetime | None = None
    hold_until: datetime | None = None
    target: ReplyTo | None = None
    sent_ts: str | None = None
    error: dict[str, Any] | None = None
    follow_up: tuple[DeliveryDraft, ...] = field(default=())


def closing_id(clarification_id: str, message: str) -> str:
    """The id of the edit that closes one message of a question, by its `ts`, else by the id of its delivery."""
    return derive_id("answered", clarification_id, message)
