"""What an error of PostgreSQL means to a unit of work: whether it is lost, may be tried again, or can never succeed."""

from __future__ import annotations

from enum import Enum
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy.exc import DBAPIError

from callboard.errors import CallboardError, InvalidInputError, UnavailableError


class Kind(Enum):
    """What to do about an error."""

    LOST = "the connection is gone, and with it the transaction"
    AGAIN = "another transaction was in the way: the same one may succeed when it is run again"
    TAKEN = "a unique key was taken meanwhile: run again, the unit sees who has it"
    REFUSED = "the server cannot do it now"
    DATA = "the values can never be stored"
    OTHER = "the unit's own"


LOST_STATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25006"})
AGAIN_STATES = frozenset({"40001", "40P01", "55P03"})
REFUSED_CLASSES = ("53", "57", "58", "28", "3D", "42", "XX", "F0", "55")
_DRIVER_S_OWN = OSError | asyncpg.InterfaceError | asyncpg.InternalClientError
_LOST_TYPES = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The last one is the driver out of step with its server: after a freeze the end of the session can stand behind the
last answer, and the next statement meets it before the driver has seen the connection close."""

_REMEDIES = (
    ("28", "check the user and the password in DATABASE_URL"),
    ("3D", "create the database, or correct its name in DATABASE_URL"),
    ("42501", "grant the user of DATABASE_URL the rights to its own tables"),
    ("42", "run `callboard db upgrade` with this release"),
    ("53100", "free space on the disk of the database server"),
    ("53300", "raise max_connections of the server, or lower CALLBOARD_DATABASE_POOL"),
    ("57014", "the statement took too long: see whether the server is overloaded"),
    ("25006", "the server is a standby: point DATABASE_URL at the primary"),
)
_UNREACHABLE = "check that the server runs and that DATABASE_URL names it"


def state_of(error: BaseException) -> str:
    """The server's five characters, empty where it said nothing."""
    cause = _cause(error)
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")


def kind_of(error: BaseException) -> Kind:
    state = state_of(error)
    if not state:
        return Kind.LOST if isinstance(_cause(error), _LOST_TYPES) else Kind.OTHER
    if state in AGAIN_STATES:
        return Kind.AGAIN
    if state == "23505":
        return Kind.TAKEN
    if state.startswith("08") or state in LOST_STATES:
        return Kind.LOST
    if state.startswith("22"):
        return Kind.DATA
    return Kind.REFUSED if state.startswith(REFUSED_CLASSES) else Kind.OTHER


def is_denied(error: BaseException) -> bool:
    """Whether trying again soon is pointless: a person has to change something first."""
    return state_of(error).startswith(("28", "3D", "42"))


def unavailable(where: str, error: BaseException) -> UnavailableError:
    """What callers are told; `where` names the database without a password."""
    state = state_of(error)
    remedy = next((text for prefix, text in _REMEDIES if state.startswith(prefix)), _UNREACHABLE)
    cause = _cause(error)
    reason = "no answer in time" if isinstance(cause, TimeoutError) else _first_line(cause)
    return UnavailableError(f"the database {where} cannot be used: {reason}; {remedy}")


def shown(error: BaseException, where: str) -> BaseException:
    """The error as a caller gets it."""
    if isinstance(error, CallboardError):
        return error
    kind = kind_of(error)
    if kind in (Kind.LOST, Kind.AGAIN, Kind.REFUSED):
        return unavailable(where, error)
    if kind is Kind.DATA:
        return InvalidInputError(f"the database cannot store this value: {_first_line(_cause(error))}")
    return error


def location(url: str) -> str:
    """Host, port and database of a URL: what may be shown."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _cause(error: BaseException) -> BaseException:
    """The driver's own error under the toolkit's."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    inner = cause.__cause__
    return inner if isinstance(inner, asyncpg.PostgresError | _DRIVER_S_OWN) else cause


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
