"""What agents were told to keep in mind: entries by key, each with where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from callboard.errors import InvalidInputError, TooLargeError
from callboard.messaging.events import Actor

MAX_VALUE_BYTES = 8 * 1024
"""Of one entry, as JSON."""
MAX_KEY_CHARS = 100
MAX_ENTRIES = 500
"""In one scope, where the agent file says nothing else."""
MOST_ENTRIES = 5000
"""What an agent file may say at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who wrote an entry: a run, for whoever asked for it, or a person by hand (`run_id` is None).

    `untrusted`: the run had read what strangers may have written, so that they may have written this too.
    """

    run_id: str | None
    actor: str
    via: str
    at: datetime
    untrusted: bool = False

    @classmethod
    def of(cls, actor: Actor | None, at: datetime, *, run_id: str | None = None, untrusted: bool = False) -> Source:
        known = actor or Actor(kind="system", id="unknown", via="unknown")
        return cls(run_id=run_id, actor=known.id, via=known.via or known.kind, at=at, untrusted=untrusted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One entry. `scope` says who shares it: everybody (`agent`), or one conversation by its id."""

    agent: str
    scope: str
    key: str
    value: Any
    source: Source
    updated_at: datetime
    tenant: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What an agent knows of one conversation, in numbers; the first `summarised` messages are shown to its model as a
    summary."""

    conversation_id: str
    version: int = 0
    turns: int = 0
    messages: int = 0
    summarised: int = 0
    entries: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationPage:
    """A conversation with its summary and a page of its messages: (number, run, message), oldest first."""

    conversation: Conversation
    summary: str | None
    summary_untrusted: bool
    messages: tuple[tuple[int, str | None, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How much is gone."""

    entries: int = 0
    messages: int = 0
    conversations: int = 0


def checked_key(key: str) -> str:
    """Raises InvalidInputError for what cannot be a key."""
    if not 0 < len(key) <= MAX_KEY_CHARS or not key.isprintable() or key != key.strip():
        raise InvalidInputError(
            f"key {key[:MAX_KEY_CHARS]!r} cannot be used: take 1 to {MAX_KEY_CHARS} printable characters, none of them "
            "a space at an end",
            field="key",
        )
    return key


def checked_value(value: Any) -> Any:
    """Raises TooLargeError, or InvalidInputError for what has no JSON form."""
    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise InvalidInputError(f"the value cannot be kept: {error}", field="value") from error
    if size > MAX_VALUE_BYTES:
        raise TooLargeError(f"the value has {size} bytes; an entry may have {MAX_VALUE_BYTES}", field="value")
    return value
