"""JSON Schema (2020-12): whether a schema can be used here, and what is wrong with a value by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

MAX_PROBLEMS = 10
_REFERENCES = ("$ref", "$dynamicRef")


def schema_problem(schema: Mapping[str, JsonValue]) -> str | None:
    """Why values cannot be checked against it, None where they can: no schema, not one of an object, or a reference to
    another document, which nobody would fetch."""
    # Importing it takes a tenth of a second, and most processes never check anything.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"{_place(error.absolute_path, 'the schema')}: {error.message[:200]}"
    if schema.get("type") != "object":
        return "the schema is not of an object"
    elsewhere = next((target for target in _targets(dict(schema)) if not str(target).startswith("#")), None)
    return None if elsewhere is None else f"'{elsewhere}' refers to another document"


def value_problems(schema: Mapping[str, JsonValue], value: JsonValue) -> list[str]:
    """One sentence a problem, each naming the place; empty when the value fits. The schema is one without a problem."""
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(dict(schema)).iter_errors(value)
    problems = []
    for error in errors:
        problems.append(f"{_place(error.absolute_path, 'the value')}: {error.message[:200]}")
        if len(problems) == MAX_PROBLEMS:
            break
    return problems


def _place(path: Iterable[object], whole: str) -> str:
    return ".".join(str(part) for part in path) or whole


def _targets(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _REFERENCES:
                yield item
            yield from _targets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _targets(item)
