"""Values on their way to PostgreSQL, which has no NUL character: it is stored as the sign for what cannot be shown."""

from __future__ import annotations

from typing import Any

import orjson


def document(value: Any) -> str:
    """The text of a JSON document."""
    document = orjson.dumps(value).decode()
    if "\\u0000" not in document:
        return document
    return orjson.dumps(_without_nul(value)).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    return value
