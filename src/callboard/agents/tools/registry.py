"""The tools there are, by name, and how an agent's choice of them becomes a tool set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

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


class ToolRegistry:
    """Every tool of this installation."""

    def __init__(self, factories: Mapping[str, ToolFactory]) -> None:
        self._factories = dict(factories)

    def names(self) -> list[str]:
        return sorted(self._factories)

    def build(self, bindings: Sequence[ToolBinding]) -> ToolSet:
        """Raises InvalidInputError for a name that is not known or given twice, and for options a tool refuses."""
        seen: set[str] = set()
        for binding in bindings:
            if binding.name in seen:
                raise InvalidInputError(f"tool {binding.name!r} is listed twice: remove one", field="tools")
            seen.add(binding.name)
        settings = {binding.name: binding.settings for binding in bindings if binding.settings is not None}
        return ToolSet(tuple(self._make(binding) for binding in bindings), settings)

    def _make(self, binding: ToolBinding) -> Tool:
        factory = self._factories.get(binding.name)
        if factory is None:
            near = difflib.get_close_matches(binding.name, self._factories, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidInputError(
                f"unknown tool {binding.name!r}{hint}; known are: {', '.join(self.names())}", field="tools"
            )
        return factory(binding.options)
