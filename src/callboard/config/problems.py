"""What is wrong with a file: one record a problem, and how pydantic's errors become such records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from callboard.config.refusal import REFUSAL, nearest, suggestion
from callboard.config.secrets import literal_secret

Path = tuple[str | int, ...]
Locate = Callable[[Path, bool], tuple[int, int]]
"""(path, of its key instead of its value) → (line, column), both from 1."""

_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where (line and column from 1), what, and what to write instead."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}" + (f" ({self.hint})" if self.hint else "")

    def to_record(self) -> dict[str, object]:
        """As JSON shows it to people and programs."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
        }


def problems_of(error: ValidationError, model: type[BaseModel], file: str, locate: Locate) -> list[Problem]:
    """Every error of a validation as a problem at its place in the file; a misspelt key is not missing as well."""
    errors: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
    return [_problem(item, model, file, locate) for item in errors if not _is_misspelt(item, errors, model)]


def _is_misspelt(missing: Mapping[str, Any], errors: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> bool:
    """Whether an unknown key beside it is what was meant for the missing one."""
    if missing["type"] != "missing":
        return False
    *parent, key = missing["loc"]
    known = known_keys(model, tuple(parent))
    return key in [
        nearest(str(other["loc"][-1]), known)
        for other in errors
        if other["type"] == "extra_forbidden" and list(other["loc"][:-1]) == parent
    ]


def _problem(error: Mapping[str, Any], model: type[BaseModel], file: str, locate: Locate) -> Problem:
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    at_key = False
    if kind == REFUSAL:
        message, hint = context["message"], context["hint"]
    elif kind == "missing":
        message, hint = f"'{path[-1]}' is missing", f"add {'.'.join(map(str, path))}"
        path = path[:-1]
    elif kind == "extra_forbidden":
        message, hint = f"unknown key '{shown(path[-1])}'", suggestion(str(path[-1]), known_keys(model, path[:-1]))
        at_key = True
    else:
        message, hint = _value_problem(kind, path, context, error.get("input"))
    line, column = locate(path, at_key)
    return Problem(file=file, line=line, column=column, message=message, hint=hint)


_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "string_too_short": ("min_length", "at least this many characters:"),
    "string_too_long": ("max_length", "at most this many characters:"),
}


def _value_problem(kind: str, path: Path, context: Mapping[str, Any], value: object) -> tuple[str, str]:
    name = ".".join(map(str, path)) or "the file"
    if kind in _WANTED:
        wanted = _WANTED[kind]
        hint = f"write {wanted}"
        if kind == "string_type" and isinstance(value, int | float):
            hint = "put it in quotes"
        elif value is None and path:
            hint = f"write {wanted} or remove the key"
        return f"{name} must be {wanted}, not {described(value)}", hint
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{name} is {described(value)}", f"{words} {context[key]:g}"
    if kind in ("enum", "literal_error"):
        known = [part.strip(" '") for part in context["expected"].replace(" or ", ", ").split(",")]
        return f"{name} is {described(value)}, which is not known", (
            suggestion(value, known) if isinstance(value, str) else "known: " + ", ".join(known)
        )
    if kind == "string_pattern_mismatch":
        return f"{name} is {described(value)}", _pattern_hint(str(path[-1]) if path else "", context["pattern"])
    return f"{name} is {described(value)}", "see docs/reference/agent-file.md"


def _pattern_hint(key: str, pattern: str) -> str:
    if pattern.startswith("^[a-z0-9]"):
        return "a-z, 0-9, _ and -, beginning with a letter or digit, at most 64"
    if pattern.startswith("^[A-Za-z0-9]"):
        return "letters, digits, _ and -, at most 64"
    if pattern.startswith("^([#@]"):
        return 'a channel such as "#eng" (in quotes), a person such as @mia, or an id of Slack'
    if pattern.startswith("^(https?"):
        return "write https://… or ${env:NAME}"
    return f"{key} must match {pattern}"


def shown(value: object) -> str:
    """A value as far as a message may show it: one line, printable, short."""
    if literal_secret(str(value)) is not None:
        return "[secret]"
    text = "".join(sign if sign.isprintable() else "�" for sign in str(value)[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def described(value: object) -> str:
    """A value in the words of a YAML file."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return f"'{shown(value)}'" if value else "an empty text"
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
    return type(value).__name__


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the mapping at this path may have."""
    here: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        field = next((info for key, info in _fields(here) if key == part), None) if here else None
        here = next(_models_in(field.annotation), None) if field else None
    return [key for key, _ in _fields(here)] if here else []


def _fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(info.alias or name, info) for name, info in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models_in(part)
