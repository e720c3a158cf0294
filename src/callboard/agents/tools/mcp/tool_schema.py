"""Whether the input schema that a server gives for a tool can be shown to a model, and in which form; pure.

Servers are strangers: a schema may be huge, endless (a `$ref` to itself) or no schema at all. Local references are
put in place, since not every provider follows them; what a validator would have to fetch, or could hang on (regular
expressions of strangers), does not pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

MAX_SCHEMA_BYTES = 32 * 1024
MAX_SCHEMA_NODES = 4000
MAX_SCHEMA_DEPTH = 32
_DROPPED = frozenset({"$schema", "$id", "$anchor", "$defs", "definitions", "$comment", "pattern", "patternProperties"})
_NAMED = frozenset({"properties", "dependentSchemas"})
"""Keywords whose keys are names of the tool's own, not keywords."""
_LITERAL = frozenset({"const", "enum", "default", "examples"})


class UnusableToolError(ValueError):
    """The message says why, as the end of a sentence about the tool."""


def parameters_of(schema: object) -> dict[str, JsonValue]:
    """The schema as a tool's parameters; raises UnusableToolError."""
    if not isinstance(schema, Mapping):
        raise UnusableToolError("its input schema is not an object")
    try:
        size = len(json.dumps(schema, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        raise UnusableToolError("its input schema is no JSON") from None
    if size > MAX_SCHEMA_BYTES:
        raise UnusableToolError(f"its input schema has {size} bytes; the limit is {MAX_SCHEMA_BYTES}")
    if schema.get("type") != "object":
        raise UnusableToolError("its input schema is not of type object")
    flat = _Flattening(schema).schema(schema, (), 0)
    _check_object(flat)
    return flat


def _check_object(flat: Mapping[str, JsonValue]) -> None:
    properties = flat.get("properties", {})
    if not isinstance(properties, dict) or not all(isinstance(part, dict | bool) for part in properties.values()):
        raise UnusableToolError("its input schema's properties are no schemas")
    required = flat.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise UnusableToolError("its input schema's required is no list of names")


class _Flattening:
    """Puts what local references point to in their place, within the limits."""

    def __init__(self, root: Mapping[str, JsonValue]) -> None:
        self._root = root
        self._nodes = 0

    def schema(self, schema: Mapping[str, JsonValue], followed: tuple[str, ...], depth: int) -> dict[str, JsonValue]:
        self._count(depth)
        flat: dict[str, JsonValue] = {}
        reference = schema.get("$ref")
        if reference is not None:
            flat |= self._target(reference, followed, depth)
        for keyword, value in schema.items():
            if keyword == "$ref" or keyword in _DROPPED:
                continue
            if keyword.startswith(("$dynamic", "$recursive")):
                raise UnusableToolError(f"its input schema uses {keyword}")
            if keyword in _LITERAL:
                flat[keyword] = value
            elif keyword in _NAMED and isinstance(value, dict):
                flat[keyword] = {name: self._part(part, followed, depth + 1) for name, part in value.items()}
            else:
                flat[keyword] = self._part(value, followed, depth + 1)
        return flat

    def _part(self, value: JsonValue, followed: tuple[str, ...], depth: int) -> JsonValue:
        if isinstance(value, dict):
            return self.schema(value, followed, depth)
        if isinstance(value, list):
            self._count(depth)
            return [self._part(item, followed, depth + 1) for item in value]
        return value

    def _target(self, reference: JsonValue, followed: tuple[str, ...], depth: int) -> dict[str, JsonValue]:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise UnusableToolError(f"its input schema refers to {str(reference)[:80]!r}, outside of itself")
        if reference in followed:
            raise UnusableToolError(f"its input schema is endless: {reference[:80]!r} refers to itself")
        found: object = self._root
        for step in reference[2:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise UnusableToolError(f"its input schema refers to {reference[:80]!r}, which is not there")
        return self.schema(found, (*followed, reference), depth + 1)

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_SCHEMA_NODES or depth > MAX_SCHEMA_DEPTH:
            raise UnusableToolError("its input schema is too deep or, with its references, too large")
