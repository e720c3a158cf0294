"""The `with` of a tool in an agent file, read by a record of its options."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from callboard.agents.tools.registry import ToolOptions
from callboard.errors import InvalidInputError

Options = TypeVar("Options", bound=BaseModel)


def read_options(tool: str, record: type[Options], options: ToolOptions) -> Options:
    """Raises InvalidInputError naming the option; its message holds no value, which may be a secret."""
    try:
        return record.model_validate(dict(options))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        # A misspelt option is also one that is missing: the spelling is what has to be told.
        first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
        where = ".".join(["with", *(str(part) for part in first["loc"])])
        said = first["msg"]
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            said = f"no such option; it takes {', '.join(record.model_fields)}"
        elif first["type"] == "missing":
            said = f"this option has to be given; see {tool} in docs/reference/tools.md"
        raise InvalidInputError(f"{tool}, {where}: {said}", field=where) from None
