"""A configuration service over a real folder and a real database, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path

from callboard.clock import Clock, SystemClock
from callboard.config.catalog import Catalog, Rejection
from callboard.config.catalog_reader import CatalogReader
from callboard.config.configuration_service import ConfigurationService
from callboard.config.folder_scan import WatchedFolder
from callboard.ids import SequentialIds
from callboard.messaging.events import Actor, Event
from callboard.state.catalog_store import CatalogStore
from callboard.state.finishing import Consequences
from callboard.state.models import metadata
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.waiting import wait_until

MIA = Actor(kind="user", id="mia", via="cli")


def agent(name: str = "standup", say: str = "hello", extra: str = "") -> str:
    """The text of a small valid agent file."""
    return f"""name: {name}
agent_type: reporter
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {{say: "{say}"}}
{extra}"""


def uses_script(path: str = "scripts/weather.yaml", *, name: str = "standup", extra: str = "") -> str:
    """The text of an agent file whose rules stand in a script file."""
    return f"""name: {name}
agent_type: reporter
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script_file: {path}
{extra}"""


@dataclass
class Heard:
    """An announcer that keeps what it was offered."""

    events: list[Event] = field(default_factory=list)

    def offer(self, consequences: Consequences) -> None:
        self.events += [stored.event for stored in consequences.events]

    def topics(self) -> list[tuple[str, str | None]]:
        return [(event.topic.removeprefix("config.agent."), event.payload["agent"]) for event in self.events]


@dataclass
class House:
    folder: Path
    second: Path
    database: SqliteDatabase
    clock: Clock
    heard: Heard = field(default_factory=Heard)
    known_tools: Collection[str] | None = None

    def __post_init__(self) -> None:
        self.store = CatalogStore(self.database, self.heard, self.clock, SequentialIds())
        self.fresh_service()

    def fresh_service(self) -> None:
        """As after a restart of the process."""
        self.reader = CatalogReader(self.store, self.clock)
        folders = [WatchedFolder(self.folder, "agents"), WatchedFolder(self.second, "data/agents")]
        self.service = ConfigurationService(folders, self.store, self.reader, self.clock, known_tools=self.known_tools)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ConfigurationService]:
        stop = asyncio.Event()

        async def stopped() -> None:
            await stop.wait()

        await self.service.start()
        task = asyncio.create_task(self.service.run(stopped))
        try:
            yield self.service
        finally:
            stop.set()
            await task

    def catalog(self) -> Catalog:
        return self.service.current()

    def write(self, text: str, file: str = "standup.yaml") -> Path:
        path = self.folder / file
        path.write_text(text)
        return path

    def says(self, name: str = "standup") -> str | None:
        entry = self.catalog().get(name)
        return entry.definition.llm_config.script[0].say if entry else None

    def version(self, name: str = "standup") -> int | None:
        entry = self.catalog().get(name)
        return entry.version if entry else None

    async def until_says(self, words: str | None, name: str = "standup", within: float = 5.0) -> None:
        await wait_until(lambda: self.says(name) == words, f"{name} says {words}", within=within)

    async def rejection(self, file: str = "standup.yaml") -> Rejection | None:
        return next((item for item in await self.reader.rejections() if item.path == f"agents/{file}"), None)

    async def until_rejected(self, file: str = "standup.yaml") -> Rejection:
        found: list[Rejection] = []

        async def rejected() -> bool:
            item = await self.rejection(file)
            found.extend([item] if item else [])
            return item is not None

        await wait_until(rejected, f"{file} is rejected")
        return found[0]


@contextlib.asynccontextmanager
async def house(tmp_path: Path, *, known_tools: Collection[str] | None = None) -> AsyncIterator[House]:
    folder = tmp_path / "config" / "agents"
    folder.mkdir(parents=True)
    database = SqliteDatabase(tmp_path / "callboard.db")
    metadata.create_all(database.engine)
    await database.start()
    try:
        yield House(
            folder=folder,
            second=tmp_path / "data" / "agents",
            database=database,
            clock=SystemClock(),
            known_tools=known_tools,
        )
    finally:
        await database.close()
