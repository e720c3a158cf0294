"""The tools there are, as people are shown them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from callboard.config.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTool:
    """One tool. `file` and `line` are those of a project's own; a built-in one has none.

    A tool that cannot be made without options has no description and parameters before it has some; `needs` says which.
    """

    name: str
    file: str | None = None
    line: int | None = None
    description: str = ""
    parameters: Mapping[str, JsonValue] | None = None
    idempotent: bool | None = None
    timeout_seconds: float | None = None
    reads_untrusted: bool | None = None
    sends_out: bool | None = None
    needs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolListing:
    """All of them by name, and what is wrong with the files of the project's own."""

    tools: tuple[ListedTool, ...] = ()
    problems: tuple[Problem, ...] = ()
