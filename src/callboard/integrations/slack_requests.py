"""From the bytes of a signed Slack request to its JSON object; pure.

Slack speaks three ways: JSON (Events API), a flat form (slash commands) and a form with one field `payload` that holds
JSON (interactivity). Which one it is follows from the content type and the fields, never from the route.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from callboard.errors import InvalidInputError

MAX_FORM_FIELDS = 1000
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


def decode_request(content_types: list[str], body: bytes) -> dict[str, Any]:
    """The request as one JSON object; a slash command's fields become strings of it.

    Raises InvalidInputError for a content type that is neither of Slack's, for a body that does not match it, for JSON
    nested deeper than the parser's limit (1,024) and for more than 1,000 form fields.
    """
    if len(content_types) != 1:
        raise InvalidInputError("exactly one Content-Type header is needed", field="content-type")
    match content_types[0].partition(";")[0].strip().lower():
        case "application/json":
            return _object(body, "the body")
        case "application/x-www-form-urlencoded":
            return _form(body)
        case _:
            raise InvalidInputError(f"the Content-Type must be {_JSON} or {_FORM}", field="content-type")


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise InvalidInputError(f"the body is not a form of at most {MAX_FORM_FIELDS} UTF-8 fields") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInputError("a form field stands twice in the body")
    if "payload" in fields:
        return _object(fields["payload"].encode(), "the form's payload")
    return {name: clean(value) for name, value in fields.items()}


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} is not a JSON object")
    return value


def clean(text: str) -> str:
    """Without NUL, which PostgreSQL refuses in JSON."""
    return text.replace("\x00", "")


def text_at(source: Mapping[str, Any], *path: str) -> str:
    """The string at that path, cleaned; empty where there is none or it is something else."""
    value: Any = source
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return clean(value) if isinstance(value, str) else ""


def object_at(source: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The object at that path; empty where there is none or it is something else."""
    value: Any = source
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def objects_at(source: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of the list under that name; what else stands in it is left out."""
    value = source.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
