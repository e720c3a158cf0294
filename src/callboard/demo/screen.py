"""How the demo looks: plain text, with a few colours on a terminal."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO

_BOLD, _DIM, _GREEN, _RED, _CYAN, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[36m", "\x1b[0m"
_MARGIN = "   "


class Screen:
    """Writes to `out` line by line, as things happen."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.colours = out.isatty() and "NO_COLOR" not in os.environ
        self._scene = 0

    def say(self, text: str = "") -> None:
        """A line of its own."""
        print(text, file=self._out, flush=True)

    def scene(self, title: str) -> None:
        """The next of the numbered things that are shown."""
        self._scene += 1
        self.say()
        self.say(f"{self._in(_CYAN, str(self._scene))}  {self._in(_BOLD, title)}")

    def line(self, who: str, text: str, note: str = "") -> None:
        """Who did or said what; `note` is a measure or a remark."""
        first, *more = text.splitlines() or [""]
        tail = f"  {self._in(_DIM, note)}" if note else ""
        self.say(f"{_MARGIN}{self._in(_DIM, f'{who:<10}')} {first}{tail}")
        for each in more:
            self.say(f"{_MARGIN}{'':<10} {each}")

    def command(self, line: str, output: str) -> None:
        """A command of Callboard's and what it printed."""
        self.say(f"{_MARGIN}{self._in(_DIM, '$')} {line}")
        self.say(textwrap.indent(output.rstrip(), _MARGIN + "  "))

    def refused(self, text: str) -> None:
        """Something that must not go through, and did not."""
        self.say(f"{_MARGIN}{self._in(_RED, 'refused')}    {text}")

    def good(self, text: str) -> None:
        self.say(f"{_MARGIN}{self._in(_GREEN, '✓')} {text}")

    def bad(self, text: str) -> None:
        self.say(f"{_MARGIN}{self._in(_RED, '✗')} {text}")

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.colours else text
