"""Whether a model's arguments fit a tool's parameters; the words are for the model, so that it can correct itself.

The part of JSON Schema that tools use: type, properties, required, additionalProperties, items, enum, minimum, maximum,
minLength, maxLength, minItems, maxItems. Keywords it does not know do not restrict: the tool itself must check those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

Schema = Mapping[str, JsonValue]

_IS_TYPE: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def argument_problems(parameters: Schema, arguments: Mapping[str, JsonValue]) -> list[str]:
    """One sentence a problem, each naming the argument; empty when they fit."""
    return list(_problems(parameters, dict(arguments), "arguments"))


def _problems(schema: Schema, value: JsonValue, where: str) -> Iterator[str]:
    wanted = schema.get("type")
    types = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    if types and not any(_IS_TYPE[name](value) for name in types if isinstance(name, str) and name in _IS_TYPE):
        yield f"{where} must be of type {' or '.join(map(str, types))}"
        return
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        yield f"{where} must be one of {', '.join(map(str, allowed))}"
    if isinstance(value, str):
        yield from _size_problems(schema, len(value), where, ("minLength", "maxLength"), "characters")
    elif isinstance(value, list):
        yield from _list_problems(schema, value, where)
    elif isinstance(value, dict):
        yield from _object_problems(schema, value, where)
    elif isinstance(value, int | float):
        yield from _size_problems(schema, value, where, ("minimum", "maximum"), "")


def _size_problems(schema: Schema, size: float, where: str, bounds: tuple[str, str], unit: str) -> Iterator[str]:
    least, most = (schema.get(bound) for bound in bounds)
    if isinstance(least, int | float) and size < least:
        yield f"{where} must be at least {least} {unit}".rstrip()
    if isinstance(most, int | float) and size > most:
        yield f"{where} must be at most {most} {unit}".rstrip()


def _list_problems(schema: Schema, value: list[JsonValue], where: str) -> Iterator[str]:
    yield from _size_problems(schema, len(value), where, ("minItems", "maxItems"), "items")
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            yield from _problems(items, item, f"{where}[{index}]")


def _object_problems(schema: Schema, value: dict[str, JsonValue], where: str) -> Iterator[str]:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if name not in value:
            yield f"{where}.{name} is missing"
    rest = schema.get("additionalProperties", True)
    for name, item in value.items():
        part = known.get(name, rest)
        if part is False:
            yield f"{where}.{name} is not known; known are {', '.join(known) or 'none'}"
        elif isinstance(part, dict):
            yield from _problems(part, item, f"{where}.{name}")
