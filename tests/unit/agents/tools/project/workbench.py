"""A folder of tools with its watch, and a call of one of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.project.shelf import ProjectTools
from callboard.agents.tools.project.watch import ProjectToolsWatch
from callboard.agents.tools.tool import NoArtifacts, ToolContext
from callboard.clock import SystemClock
from callboard.config.problems import Problem
from tests.support.waiting import wait_until

BUILT_IN = frozenset({"http_get", "ask_human"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    folder: Path
    tools: ProjectTools
    watch: ProjectToolsWatch

    def write(self, name: str, text: str | bytes) -> Path:
        file = self.folder / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    async def call(self, tool: str, options: dict[str, JsonValue] | None = None, **arguments: JsonValue) -> str:
        found = self.tools.tool(tool, options or {})
        assert found is not None
        return await found.call(arguments, context())

    def told(self) -> list[str]:
        """What is wrong, as people are shown it, by the file's name."""
        return [str(problem).removeprefix(f"{self.folder}/") for problem in self.tools.problems()]

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        stop = asyncio.Event()

        async def stopped() -> None:
            await stop.wait()

        await self.watch.start()
        running = asyncio.create_task(self.watch.run(stopped))
        try:
            yield
        finally:
            stop.set()
            await running

    async def until(self, seen: Callable[[], object], what: str) -> None:
        await wait_until(seen, what)

    def problem(self, words: str) -> Problem | None:
        return next((problem for problem in self.tools.problems() if words in problem.message), None)


def workbench(folder: Path) -> Workbench:
    """The folder is made by whoever wants one."""
    runner = ChildRunner()
    tools = ProjectTools(runner, BUILT_IN)
    return Workbench(folder=folder, tools=tools, watch=ProjectToolsWatch(folder, tools, runner, SystemClock()))


def context() -> ToolContext:
    return ToolContext(run_id="run", agent="clerk", idempotency_key="key", artifacts=NoArtifacts())
