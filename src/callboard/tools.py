"""What a project imports to make its functions tools of agents: `from callboard.tools import tool`.

Stands on nothing but the standard library, so that a tool's file can be imported and tested anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, overload

MARK = "__callboard_tool__"
LONGEST_SECONDS = 3600.0
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class RefusedError(Exception):
    """Raised by a tool that has done nothing and will not: the model reads the message and may try something else.

    After any other exception nobody knows what a tool has done that is not idempotent: a person is asked.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMark:
    """What the decorator says of a function."""

    name: str
    idempotent: bool
    timeout_seconds: float
    only_reads: bool
    reads_untrusted: bool
    sends_out: bool


@overload
def tool(function: _Function, /) -> _Function: ...


@overload
def tool(
    *,
    name: str | None = None,
    idempotent: bool = False,
    timeout_seconds: float = 60,
    only_reads: bool = False,
    reads_untrusted: bool = False,
    sends_out: bool = False,
) -> Callable[[_Function], _Function]: ...


def tool(
    function: _Function | None = None,
    /,
    *,
    name: str | None = None,
    idempotent: bool = False,
    timeout_seconds: float = 60,
    only_reads: bool = False,
    reads_untrusted: bool = False,
    sends_out: bool = False,
) -> Any:
    """Makes a function of a file in `tools/` a tool; the function itself stays as it is.

    Its docstring tells the model what it does, its annotations what it takes. A parameter `options` is not for the
    model: it gets what the agent file says under `with`. `name` is the function's unless given.

    `idempotent`: a second call with the same arguments changes nothing more, so it may be repeated after a crash
    without asking. `only_reads`: it changes nothing at all (and so is idempotent): a dry run really calls it.
    `timeout_seconds`: after that a call is killed. `reads_untrusted`: strangers may have written what it returns.
    `sends_out`: its arguments leave this installation.
    """

    def marked(function: _Function) -> _Function:
        if not isinstance(function, FunctionType):
            raise TypeError("@tool belongs on a function of the module, not on a class or a method of one")
        chosen = _checked_name(function.__name__ if name is None else name)
        mark = ToolMark(
            name=chosen,
            idempotent=bool(idempotent or only_reads),
            timeout_seconds=_checked_seconds(timeout_seconds, chosen),
            only_reads=bool(only_reads),
            reads_untrusted=bool(reads_untrusted),
            sends_out=bool(sends_out),
        )
        setattr(function, MARK, mark)
        return function

    return marked if function is None else marked(function)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(str(name)) or "__" in name:
        raise ValueError(
            f"{name!r} cannot be a tool's name: a letter, then letters, digits, - and single _, at most 64"
        )
    return name


def _checked_seconds(seconds: float, tool: str) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"timeout_seconds of {tool} is no number: {seconds!r}")
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"timeout_seconds of {tool} is {seconds:g}: more than 0, at most 3600")
    return float(seconds)
