"""Filling `{input}` and its kin into a script's texts by plain replacement, in one pass."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

_PLACEHOLDER = re.compile(r"(?<!\$)\{(input|turn|answer|result)\}")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Every `{name}` that has a value, replaced; what is put in is never looked at again.

    `${input}` is the plan's own reference, not a placeholder; any other brace stays as it is.
    """
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def fill_all(value: JsonValue, values: Mapping[str, str]) -> JsonValue:
    """The same in every text of a JSON value; keys stay."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, list):
        return [fill_all(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill_all(item, values) for key, item in value.items()}
    return value
