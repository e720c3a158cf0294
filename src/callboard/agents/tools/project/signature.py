"""From a function's annotations and docstring to what a model is told of it; in the child process only."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from callboard.tools import MARK, ToolMark

OPTIONS = "options"
_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
    inspect.Parameter.POSITIONAL_ONLY: "before the / ",
}


class UnusableError(Exception):
    """A function that cannot be a tool; `hint` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def form_of(function: Callable[..., Any]) -> dict[str, Any]:
    """What `forms.ToolForm` holds; UnusableError."""
    mark: ToolMark = getattr(function, MARK)
    description = inspect.getdoc(function)
    if not description:
        raise UnusableError(f"{mark.name} has no docstring", "write what it does, for the model that will choose it")
    takes_options = _check_parameters(mark.name, function)
    return {
        "name": mark.name,
        "function": function.__name__,
        "description": description,
        "parameters": _schema(mark.name, function),
        "takes_options": takes_options,
        "idempotent": mark.idempotent,
        "timeout_seconds": mark.timeout_seconds,
        "only_reads": mark.only_reads,
        "reads_untrusted": mark.reads_untrusted,
        "sends_out": mark.sends_out,
        "line": function.__code__.co_firstlineno,
    }


def _check_parameters(name: str, function: Callable[..., Any]) -> bool:
    """Whether there is an `options` among them."""
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind in _KINDS:
            shown = _KINDS[parameter.kind] + parameter.name
            raise UnusableError(f"{name} takes {shown}, which a model cannot be told of", "name each parameter")
        if parameter.annotation is inspect.Parameter.empty and parameter.name != OPTIONS:
            raise UnusableError(
                f"{name}: parameter {parameter.name!r} has no annotation", f"write its type: {parameter.name}: str"
            )
    try:
        typing.get_type_hints(function)
    except Exception as error:  # annotations are code of the project's
        raise UnusableError(f"{name}: its annotations cannot be read: {error}", "import what they name") from error
    return OPTIONS in parameters


def _schema(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cast("type[Any]", function))
        schema = adapter.json_schema()
    except (PydanticUserError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise UnusableError(
            f"{name}: a parameter's type has no JSON Schema: {first}",
            "use str, int, float, bool, list, dict, Literal, Optional or a pydantic model",
        ) from error
    properties = schema.get("properties", {})
    properties.pop(OPTIONS, None)
    schema["required"] = [key for key in schema.get("required", []) if key != OPTIONS]
    untitled: dict[str, Any] = _untitled({"type": "object", "additionalProperties": False, **schema})
    return untitled


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of the names: they tell a model nothing and cost tokens."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else value
        if key in ("default", "enum", "const", "examples")
        else _untitled(value)
        for key, value in schema.items()
        if key != "title"
    }
