"""The catalog: a numbered, immutable set of definitions, and what was refused beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from callboard.config.definition import AgentDefinition
from callboard.config.refusal import suggestion
from callboard.errors import NotFoundError
from callboard.state.catalogs import RejectionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One agent in force. While `pinned`, `version` may be older than `latest`, which is what its file holds."""

    definition: AgentDefinition
    version: int
    digest: str
    path: str
    pinned: bool = False
    latest: int
    latest_digest: str
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.definition.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every agent in force under one number. Runs keep the number they started with, so it fixes their members."""

    number: int
    agents: Mapping[str, CatalogEntry] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, name: str) -> CatalogEntry | None:
        return self.agents.get(name)

    def agent(self, name: str) -> CatalogEntry:
        """Raises NotFoundError that names the nearest agent, or those that exist."""
        entry = self.agents.get(name)
        if entry is None:
            there = suggestion(name, sorted(self.agents)[:50]) or "there are no agents yet: add a file to config/agents"
            raise NotFoundError(f"no agent '{name[:80]}' ({there})", code="unknown_agent", field="agent")
        return entry

    def __iter__(self) -> Iterator[CatalogEntry]:
        """The agents by name."""
        return iter(self.agents[name] for name in sorted(self.agents))

    def __len__(self) -> int:
        return len(self.agents)

    def command_owner(self, command: str) -> CatalogEntry | None:
        """The agent that owns a slash command, which at most one does (DESIGN.md, R25)."""
        return next((entry for entry in self if command in entry.definition.slack.commands), None)

    def missing_members(self, name: str) -> tuple[str, ...]:
        """Members of an agent that are not in this catalog: a run that needs one fails, naming it."""
        return tuple(
            member for member in self.agent(name).definition.collaboration.members if member not in self.agents
        )

    def warnings(self, name: str) -> tuple[str, ...]:
        """Everything that works less than it looks, for the listing."""
        missing = (f"member '{member}' is not in the catalog" for member in self.missing_members(name))
        return (*self.agent(name).warnings, *missing)


LoadCatalog = Callable[[int], Awaitable[Catalog]]
"""By number. NotFoundError for one that there never was, UnavailableError while the database is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What stands in a file and was refused, first problem first; the last good version of `name` goes on.

    `version_refused` is the number it would have had; both are None where nobody can tell whose content it is. `path`
    is the agent file's, `file` is where the first problem stands: another one where a script file is wrong.
    """

    path: str
    file: str
    name: str | None
    line: int
    column: int
    message: str
    hint: str
    version_refused: int | None
    problems: tuple[str, ...]
    since: datetime

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def rejection_of(record: RejectionRecord) -> Rejection:
    """The stored record in words."""
    first = record.problems[0]
    return Rejection(
        path=record.path,
        file=first.get("file", record.path),
        name=record.name,
        line=first["line"],
        column=first["column"],
        message=first["message"],
        hint=first["hint"],
        version_refused=record.version,
        problems=tuple(
            f"{item['file']}:{item['line']}:{item['column']}: {item['message']}"
            + (f" ({item['hint']})" if item["hint"] else "")
            for item in record.problems
        ),
        since=record.created_at,
    )
