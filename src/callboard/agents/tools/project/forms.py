"""What is known of a project's tools in our processes: records only, never the code itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from callboard.agents.tools.project.modules import ModuleText
from callboard.config.problems import Problem
from callboard.tools import LONGEST_SECONDS

MAX_TOOLS = 50
MAX_SCHEMA_BYTES = 32 * 1024
MAX_DESCRIPTION_CHARS = 4000


class ToolForm(BaseModel):
    """One tool as its file describes it. The description came out of project code, so nothing of it is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
    function: Annotated[str, Field(max_length=200)]
    description: Annotated[str, Field(min_length=1, max_length=MAX_DESCRIPTION_CHARS)]
    parameters: dict[str, JsonValue]
    takes_options: bool
    idempotent: bool
    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)]
    only_reads: bool
    reads_untrusted: bool
    sends_out: bool
    line: Annotated[int, Field(ge=1)]

    @field_validator("parameters")
    @classmethod
    def _not_too_large(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        size = len(json.dumps(parameters))
        if size > MAX_SCHEMA_BYTES:
            raise ValueError(f"the schema has {size} bytes, the limit is {MAX_SCHEMA_BYTES}")
        return parameters


class ToldProblem(BaseModel):
    """Something that is wrong with a file, as the child found it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str
    line: int
    column: int
    message: str
    hint: str

    def problem(self) -> Problem:
        return Problem(file=self.path, line=self.line, column=self.column, message=self.message, hint=self.hint)


class Description(BaseModel):
    """What the child says of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tools: Annotated[list[ToolForm], Field(max_length=MAX_TOOLS)]
    needs: list[str]
    problems: Annotated[list[ToldProblem], Field(max_length=MAX_TOOLS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFile:
    """A file in a version that is good: its tools, and the texts of all modules that a call needs."""

    path: str
    module: str
    forms: tuple[ToolForm, ...]
    modules: Mapping[str, ModuleText]

    def order(self) -> dict[str, JsonValue]:
        """What the child is told of the code."""
        return code_order(self.module, self.modules)


def code_order(module: str, modules: Mapping[str, ModuleText]) -> dict[str, JsonValue]:
    """The part of an order to the child that says which code."""
    texts: dict[str, JsonValue] = {
        name: {"path": text["path"], "file": text["file"], "text": text["text"]} for name, text in modules.items()
    }
    return {"module": module, "modules": texts}
