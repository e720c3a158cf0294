"""How the API answers: JSON with instants in UTC, and one shape for every error."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from callboard.errors import (
    CallboardError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from callboard.logs import current_trace

_STATUS: tuple[tuple[type[CallboardError], int], ...] = (
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (TooLargeError, 413),
    (InvalidInputError, 422),
    (UnavailableError, 503),
)
_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 415: "unsupported_media_type"}


class JsonReply(Response):
    """A JSON body; instants as RFC 3339 with a Z, keys as text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def error_reply(
    status: int,
    code: str,
    message: str,
    *,
    field: str | None = None,
    headers: dict[str, str] | None = None,
    beside: dict[str, Any] | None = None,
) -> JsonReply:
    """The error shape of INTERFACE.md, section 3; `beside` is what stands next to `error`."""
    error = {"code": code, "message": message, "trace_id": current_trace()}
    if field is not None:
        error["field"] = field
    return JsonReply({"error": error, **(beside or {})}, status_code=status, headers=headers)


def reply_to_error(error: CallboardError) -> JsonReply:
    """An expected error with its status."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    return error_reply(status, error.code, error.message, field=error.field, headers=headers)


def reply_to_status(status: int, detail: str, headers: dict[str, str] | None = None) -> JsonReply:
    """An answer of the framework itself: a route or method that does not exist, a body that is no JSON."""
    code = _CODES.get(status, "invalid_json" if status == 400 else HTTPStatus(status).name.lower())
    return error_reply(status, code, detail, headers=headers)


def unexpected_reply() -> JsonReply:
    """A defect of ours: what it was stands in the log and nowhere else."""
    return error_reply(500, "internal_error", "something went wrong here; the log has it under this trace id")
