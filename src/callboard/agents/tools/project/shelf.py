"""The tools of a project that can be used now; who asks again after a change gets the new ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.project.forms import ToolFile, ToolForm
from callboard.agents.tools.project.project_tool import ProjectTool
from callboard.config.problems import Problem
from callboard.config.tool_listing import ListedTool
from callboard.errors import InvalidInputError
from callboard.logs import StructuredLogger

Listener = Callable[[], None]


class ProjectTools:
    """Each file in its last good version. Of two files with one tool the first by path has it; a name of a built-in
    tool is never given away. For the event loop only."""

    def __init__(self, runner: ChildRunner, reserved: Collection[str] = ()) -> None:
        """`reserved` are names that no tool of a project may have."""
        self._runner = runner
        self._reserved = frozenset(reserved)
        self._files: dict[str, ToolFile] = {}
        self._refused: dict[str, tuple[Problem, ...]] = {}
        self._tools: dict[str, tuple[ToolFile, ToolForm]] = {}
        self._clashes: dict[str, tuple[Problem, ...]] = {}
        self._listeners: list[Listener] = []
        self._log = StructuredLogger("project-tools")

    def names(self) -> Collection[str]:
        """Those that can be used now."""
        return self._tools.keys()

    def check(self, name: str, options: Mapping[str, JsonValue]) -> None:
        """Raises InvalidInputError where there are options for a function that takes none."""
        found = self._tools.get(name)
        if options and found is not None and not found[1].takes_options:
            raise InvalidInputError(
                f"{name}, with: its function takes no options: remove `with`, or give it a parameter `options`",
                field="with",
            )

    def tool(self, name: str, options: Mapping[str, JsonValue]) -> ProjectTool | None:
        """The tool as it is now; it stays so, whatever becomes of its file. None when there is none of this name."""
        found = self._tools.get(name)
        if found is None:
            return None
        file, form = found
        return ProjectTool(file=file, form=form, options=options, runner=self._runner, log=self._log)

    def subscribe(self, listener: Listener) -> None:
        """`listener` is called after each change, on the event loop; it must return soon and not raise."""
        self._listeners.append(listener)

    def listed(self) -> Sequence[ListedTool]:
        """By name."""
        return [
            ListedTool(
                name=name,
                file=file.path,
                line=form.line,
                description=form.description,
                parameters=form.parameters,
                idempotent=form.idempotent,
                timeout_seconds=form.timeout_seconds,
                reads_untrusted=form.reads_untrusted,
                sends_out=form.sends_out,
            )
            for name, (file, form) in sorted(self._tools.items())
        ]

    def problems(self) -> Sequence[Problem]:
        """What is wrong with the files as they are now, by file and line."""
        found = [each for group in (self._refused, self._clashes) for problems in group.values() for each in problems]
        return sorted(found, key=lambda problem: (problem.file, problem.line, problem.column, problem.message))

    def put(self, file: ToolFile) -> None:
        """The file is good."""
        self._refused.pop(file.path, None)
        self._files[file.path] = file
        if file.forms:
            self._log.info("tools in force", file=file.path, tools=[form.name for form in file.forms])
        self._arrange()

    def refuse(self, path: str, problems: Sequence[Problem]) -> None:
        """The file is not; its last good version, if it has one, goes on."""
        found = tuple(problems)
        if self._refused.get(path) != found:
            self._refused[path] = found
            goes_on = path in self._files
            message = "tool file refused; its last good version goes on" if goes_on else "tool file refused"
            self._log.warning(message, file=path, problem=str(found[0]), problems=len(found))
            self._arrange()

    def forget(self, path: str) -> None:
        """The file is gone, and its tools with it."""
        self._refused.pop(path, None)
        gone = self._files.pop(path, None)
        if gone is not None and gone.forms:
            self._log.info("tools removed with their file", file=path, tools=[form.name for form in gone.forms])
        self._arrange()

    def _arrange(self) -> None:
        tools: dict[str, tuple[ToolFile, ToolForm]] = {}
        clashes: dict[str, tuple[Problem, ...]] = {}
        for path, file in sorted(self._files.items()):
            found = []
            for form in file.forms:
                problem = self._clash(path, form, tools)
                if problem is None:
                    tools[form.name] = (file, form)
                else:
                    found.append(problem)
            if found:
                clashes[path] = tuple(found)
                if self._clashes.get(path) != clashes[path]:
                    self._log.warning("tool left out", file=path, problem=str(found[0]), problems=len(found))
        self._tools, self._clashes = tools, clashes
        for listener in self._listeners:
            listener()

    def _clash(self, path: str, form: ToolForm, tools: Mapping[str, tuple[ToolFile, ToolForm]]) -> Problem | None:
        at = Problem(file=path, line=form.line, column=1, message="", hint='give it another: @tool(name="…")')
        if form.name in self._reserved:
            return replace(at, message=f"{form.name!r} is the name of a built-in tool")
        if form.name in tools:
            file, other = tools[form.name]
            return replace(at, message=f"{file.path}:{other.line} has a tool {form.name!r} already, and keeps the name")
        return None
