"""The tools there are, by name, and how an agent's choice of them becomes a tool set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

from pydantic import JsonValue

from callboard.agents.tools.tool import Tool, ToolSet
from callboard.config.tool_settings import ToolSettings
from callboard.errors import InvalidInputError

ToolOptions: TypeAlias = Mapping[str, JsonValue]
ToolFactory: TypeAlias = Callable[[ToolOptions], Tool]
"""Makes a tool from the `with` of an agent file, secrets resolved; raises InvalidInputError for options it refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBinding:
    """A tool as an agent names it: `tools: [NAME]` or `tools: [{name: NAME, with: OPTIONS, …}]`; `options` are those of
    the settings with secrets filled in."""

    name: str
    options: ToolOptions = field(default_factory=dict)
    settings: ToolSettings | None = None


class ToolSource(Protocol):
    """Tools that come, change and go while the process runs: the project's own."""

    def names(self) -> Collection[str]:
        """Those that there are now."""
        ...

    def check(self, name: str, options: ToolOptions) -> None:
        """Raises InvalidInputError for options that the tool, as it is now, does not take."""
        ...

    def tool(self, name: str, options: ToolOptions) -> Tool | None:
        """The tool as it is now, which it stays; None when there is none. Any options will do."""
        ...


class ToolRegistry:
    """Every tool of this installation: those made by factories, and those of `project` as they are when asked for."""

    def __init__(self, factories: Mapping[str, ToolFactory], project: ToolSource | None = None) -> None:
        self._factories = dict(factories)
        self._project = project

    def names(self) -> list[str]:
        return sorted({*self._factories, *(() if self._project is None else self._project.names())})

    @property
    def known(self) -> Collection[str]:
        """The names as they are whenever they are looked at."""
        return _Known(self)

    def build(self, bindings: Sequence[ToolBinding]) -> ToolSet:
        """Raises InvalidInputError for a name that is not known or given twice, and for options a tool refuses."""
        seen: set[str] = set()
        for binding in bindings:
            if binding.name in seen:
                raise InvalidInputError(f"tool {binding.name!r} is listed twice: remove one", field="tools")
            seen.add(binding.name)
        settings = {binding.name: binding.settings for binding in bindings if binding.settings is not None}
        made: list[Tool] = []
        live: dict[str, Callable[[], Tool | None]] = {}
        for binding in bindings:
            factory = self._factories.get(binding.name)
            if factory is not None:
                made.append(factory(binding.options))
            elif self._project is not None and binding.name in self._project.names():
                self._project.check(binding.name, binding.options)
                live[binding.name] = partial(self._project.tool, binding.name, binding.options)
            else:
                raise self._unknown(binding.name)
        return ToolSet(tuple(made), settings, live)

    def _unknown(self, name: str) -> InvalidInputError:
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return InvalidInputError(f"unknown tool {name!r}{hint}; known are: {', '.join(self.names())}", field="tools")


class _Known(Collection[str]):
    def __init__(self, registry: ToolRegistry) -> None:
        self._registry = registry

    def __contains__(self, name: object) -> bool:
        return name in self._registry.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry.names())

    def __len__(self) -> int:
        return len(self._registry.names())
