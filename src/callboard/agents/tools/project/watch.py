"""Keeps a process's project tools as the files in `tools/` say (docs/decisions, project tools)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.project.forms import Description, ToolFile, code_order
from callboard.agents.tools.project.modules import ModuleText
from callboard.agents.tools.project.project_tool import MEMORY_BYTES
from callboard.agents.tools.project.shelf import ProjectTools
from callboard.agents.tools.tool import ToolError
from callboard.clock import Clock
from callboard.config.folder_scan import FolderScan, Look, WatchedFolder
from callboard.config.problems import Problem
from callboard.config.safe_reading import Content, is_module, read_module
from callboard.config.watcher import UNSETTLED_SECONDS, FolderWatcher
from callboard.logs import StructuredLogger

MAX_FILES = 200
MAX_TOTAL_BYTES = 4 * 1024 * 1024
DESCRIBE_SECONDS = 10.0
RETRY_SECONDS = 5.0
_DESCRIBE = "callboard.agents.tools.project.inside:describe"
_FIRST_LOOKS = 10


class ProjectToolsWatch:
    """Looks at the folder as the configuration service looks at agent files, and has a child process describe what is
    new. A file that hangs holds up nobody but itself."""

    def __init__(self, folder: Path, tools: ProjectTools, runner: ChildRunner, clock: Clock) -> None:
        """A `folder` that does not exist has no tools."""
        self._folder = folder
        self._label = folder.as_posix()
        scan = FolderScan([WatchedFolder(folder, self._label)], read=read_module, meant=is_module)
        self._watcher = FolderWatcher(scan, clock)
        self._tools = tools
        self._runner = runner
        self._clock = clock
        self._log = StructuredLogger("project-tools")
        self._contents: dict[str, Content] = {}
        self._needs: dict[str, frozenset[str]] = {}
        """What a file that is good needs, by path; one that is not may need anything."""
        self._describing: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Once it returns, what stands in the folder can be used, or has been refused."""
        for _ in range(_FIRST_LOOKS):
            look = await self._watcher.look()
            await self.take_in(look)
            if not look.unsettled:
                break
            await self._clock.sleep(UNSETTLED_SECONDS)
        await asyncio.gather(*self._describing.values())

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Keeps them right until `stopped()` returns; call `start` before."""
        try:
            await self._watcher.run(stopped, self.take_in)
        finally:
            under_way = list(self._describing.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def take_in(self, look: Look) -> None:
        """Begins with what a look has found; returns without waiting for the descriptions."""
        if not look.changed and not look.gone:
            return
        for path in look.gone:
            self._contents.pop(path, None)
            self._needs.pop(path, None)
            self._stop_describing(path)
            self._tools.forget(path)
        self._contents.update((content.path, content) for content in look.changed)
        touched = {content.path for content in look.changed}
        modules = {_module(path) for path in (*touched, *look.gone)}
        fitting = self._fitting()
        for path in sorted(self._contents):
            if path in touched or self._needs.get(path) is None or self._needs[path] & modules:
                self._begin(path, fitting)

    def _begin(self, path: str, fitting: dict[str, ModuleText]) -> None:
        self._stop_describing(path)
        content = self._contents[path]
        if content.problem is not None:
            self._refuse(path, content.problem)
        elif _module(path) not in fitting:
            self._refuse(path, _problem(path, *_TOO_MUCH))
        else:
            task = asyncio.create_task(self._describe(path, fitting), name=f"describing {path}")
            self._describing[path] = task
            task.add_done_callback(lambda done: self._described(path, done))

    def _described(self, path: str, task: asyncio.Task[None]) -> None:
        if self._describing.get(path) is task:
            del self._describing[path]

    def _stop_describing(self, path: str) -> None:
        task = self._describing.pop(path, None)
        if task is not None:
            task.cancel()

    def _fitting(self) -> dict[str, ModuleText]:
        """The modules within the limits, the first by path."""
        found: dict[str, ModuleText] = {}
        room = MAX_TOTAL_BYTES
        for path, content in sorted(self._contents.items())[:MAX_FILES]:
            room -= len(content.data)
            if content.problem is None and room >= 0:
                file = str((self._folder / PurePosixPath(path).name).absolute())
                found[_module(path)] = ModuleText(path=path, file=file, text=content.data.decode("latin-1"))
        return found

    async def _describe(self, path: str, modules: dict[str, ModuleText]) -> None:
        try:
            description = await self._patiently(path, modules)
        except ToolError as error:
            self._refuse(path, _problem(path, error.message.replace(_DESCRIBE, "loading it"), "try it with python"))
            return
        if description.problems:
            self._refuse(path, *(told.problem() for told in description.problems))
            return
        self._needs[path] = frozenset(description.needs)
        needed = {name: modules[name] for name in description.needs if name in modules}
        self._tools.put(ToolFile(path=path, module=_module(path), forms=tuple(description.tools), modules=needed))

    async def _patiently(self, path: str, modules: dict[str, ModuleText]) -> Description:
        """Whether a process can be started says nothing of the file: that is tried again."""
        while True:
            try:
                return await self._description(path, modules)
            except OSError as error:
                self._log.warning("no process to describe a tool file", file=path, reason=str(error))
                await self._clock.sleep(RETRY_SECONDS)

    async def _description(self, path: str, modules: dict[str, ModuleText]) -> Description:
        order = code_order(_module(path), modules)
        try:
            async with asyncio.timeout(DESCRIBE_SECONDS):
                answer = await self._runner.run(
                    _DESCRIBE, order, cpu_seconds=int(DESCRIBE_SECONDS), memory_bytes=MEMORY_BYTES
                )
            return Description.model_validate_json(answer)
        except TimeoutError:
            raise ToolError(f"loading it did not end within {DESCRIBE_SECONDS:g} s") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ToolError(f"what it says of its tools cannot be used: {where}: {first['msg']}") from None

    def _refuse(self, path: str, *problems: Problem) -> None:
        self._needs.pop(path, None)
        self._tools.refuse(path, problems)


_TOO_MUCH = (
    f"there is too much in this folder: {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes at most",
    "move code that is no tool into a package that is installed",
)


def _module(path: str) -> str:
    return PurePosixPath(path).stem


def _problem(path: str, message: str, hint: str) -> Problem:
    return Problem(file=path, line=1, column=1, message=message, hint=hint)
