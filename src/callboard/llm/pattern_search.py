"""Regular expressions over other people's text, without the danger that one of them stops the event loop.

Python's `re` backtracks and holds the interpreter while it does: `(a+)+$` over thirty letters takes minutes. Patterns
whose cost is plainly bounded are searched here; all others in a child process with a limit on its processor time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys

MAX_SEARCHED_CHARS = 10_000
"""Only that much of a message is searched; a pattern cannot be found beyond."""
CHILD_CPU_SECONDS = 1
_CHILD_WALL_SECONDS = 20.0
_CHILDREN_AT_ONCE = 4

_CHILD_CODE = """
import json, re, resource, sys
seconds, pattern, text = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.exit(10 if re.search(pattern, text) else 11)
"""
_FOUND, _NOT_FOUND = 10, 11

_ATOMS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_GROUP_OPENINGS = re.compile(r"\((?:\?(?:P<\w+>|[aimsux]+\)|[:=!]))?")


class PatternTooSlowError(Exception):
    """The pattern did not end on this text within its processor time."""


class PatternSearch:
    """Searches texts for patterns, a few risky ones at a time."""

    def __init__(self) -> None:
        self._children = asyncio.Semaphore(_CHILDREN_AT_ONCE)

    async def found(self, pattern: str, text: str) -> bool:
        """Raises PatternTooSlowError, or re.error for a pattern that is none."""
        searched = text[:MAX_SEARCHED_CHARS]
        compiled = re.compile(pattern)
        if is_cheap(pattern):
            return compiled.search(searched) is not None
        async with self._children:
            return await _found_in_child(pattern, searched)


def is_cheap(pattern: str) -> bool:
    """Whether the search is at worst quadratic: at most one open repetition, of one character, and few options."""
    plain = _GROUP_OPENINGS.sub("(", _ATOMS.sub("x", pattern))
    repeats = len(re.findall(r"[*+{]", plain))
    if re.search(r"\)[*+{]|\)\?.*\)[*+?{]|\(\?", plain):
        return False
    return repeats <= 1 and plain.count("?") <= 4 and not re.search(r"\\[1-9]|\(\?P=", pattern)


async def _found_in_child(pattern: str, text: str) -> bool:
    command = (sys.executable, "-I", "-S", "-c", _CHILD_CODE)
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_CHILD_WALL_SECONDS):
            await child.communicate(json.dumps([CHILD_CPU_SECONDS, pattern, text]).encode())
    except TimeoutError:
        pass
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode not in (_FOUND, _NOT_FOUND):
        raise PatternTooSlowError(pattern)
    return child.returncode == _FOUND
