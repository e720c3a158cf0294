"""How the Celery worker and its children are heard by their role: whole log lines, and pulses.

They share one socket that keeps messages apart; on a shared pipe long lines of two writers would run into each other.
"""

from __future__ import annotations

import io
import socket

PULSE = b"\0"
LARGEST = 1 << 20


def largest_message(heard: socket.socket) -> int:
    """How much a reader has to be ready for; makes room for it."""
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LARGEST)
    return LARGEST


class WorkerLines(io.TextIOBase):
    """A stream for finished log lines; safe to inherit over a fork, since it keeps nothing of its own."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)

    def write(self, text: str) -> int:
        """One message a line; OSError when nobody listens any more."""
        for line in text.splitlines(keepends=True):
            self._socket.send(line.encode())
        return len(text)

    def pulse(self) -> None:
        """Says that the worker is well; never waits and never raises."""
        try:
            self._socket.send(PULSE, socket.MSG_DONTWAIT)
        except OSError:  # nobody takes it now, or ever again: both are told by its absence
            return

    def close_line(self) -> None:
        """Gives the descriptor back; a process that ends need not."""
        self._socket.close()
