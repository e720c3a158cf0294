"""The errors that callers of Callboard can meet.

Each carries a stable `code` (what a program tests for), a `message` (what a person reads: the thing,
the value and the way out) and, where one input is to blame, the `field` that names it. The HTTP API maps
the class to a status, the command line to an exit code; neither ever shows a stack trace.
"""

from __future__ import annotations


class CallboardError(Exception):
    """The root of every expected error."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        if code is not None:
            self.code = code


class InvalidInputError(CallboardError):
    """What the caller sent cannot be accepted as it is (HTTP 400 or 422, exit 2)."""

    code = "invalid_input"


class UnauthorizedError(CallboardError):
    """The caller did not prove who they are (HTTP 401)."""

    code = "unauthorized"


class ForbiddenError(CallboardError):
    """The caller is known and may not do this (HTTP 403)."""

    code = "forbidden"


class NotFoundError(CallboardError):
    """The named thing does not exist (HTTP 404, exit 3)."""

    code = "not_found"


class ConflictError(CallboardError):
    """The thing is in a state that rules this out: answered before, ended before, another body (HTTP 409)."""

    code = "conflict"


class TooLargeError(CallboardError):
    """What the caller sent is over a limit (HTTP 413)."""

    code = "too_large"


class UnavailableError(CallboardError):
    """A part that is needed cannot be reached or is not configured (HTTP 503, exit 4)."""

    code = "unavailable"


class VersionConflictError(ConflictError):
    """A compare-and-set met another version than the one it was computed from."""

    code = "version_conflict"


class FencedError(CallboardError):
    """A write of a run came from an owner that has lost it; its whole transaction was dropped."""

    code = "fenced"
