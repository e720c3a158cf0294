"""The JSON Schema that an agent's answer must fit: what may stand in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import JsonValue

_REFERENCES = ("$ref", "$dynamicRef")


def schema_problem(schema: Mapping[str, JsonValue]) -> str | None:
    """Why an answer cannot be checked against it, None where it can: no schema, not of an object, or a reference to a
    place outside of it, which nobody would fetch."""
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"{'.'.join(map(str, error.absolute_path)) or 'the schema'}: {error.message[:200]}"
    if schema.get("type") != "object":
        return "the schema is not of an object"
    elsewhere = next((target for target in _targets(dict(schema)) if not str(target).startswith("#")), None)
    return None if elsewhere is None else f"'{elsewhere}' refers to another document"


def _targets(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _REFERENCES:
                yield item
            yield from _targets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _targets(item)
