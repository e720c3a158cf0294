"""Tools of MCP servers as they were first seen or approved: a server that changes one later must be looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool as a server offers it now. `digest` covers all of it; `shown` is what people and models see of it."""

    name: str
    digest: str
    shown: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTool:
    """A tool that agents may use in the form `shown`, pinned at `seen_at` or approved later.

    `offered` is another form, under `offered_digest`, in which the server has offered it since; None without one.
    """

    agent: str
    server: str
    tool: str
    digest: str
    shown: Mapping[str, JsonValue]
    seen_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    offered_digest: str | None = None
    offered: Mapping[str, JsonValue] | None = None

    @property
    def changed(self) -> bool:
        """Whether it is withheld until somebody approves it."""
        return self.offered_digest is not None

    @property
    def holds_since(self) -> datetime:
        return self.approved_at or self.seen_at
