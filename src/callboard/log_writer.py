"""The thread that writes finished log lines, so that no one who logs waits for a terminal or a disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from callboard.log_file import RotatedLogFile

_BATCH = 500
_GATHER_SECONDS = 0.005
"""So long lines come together: waking the thread for each takes the interpreter from whoever logs."""


class LogWriter:
    """Takes lines from any thread and writes them to a stream and, if there is one, to the log file, in order.

    At most `max_waiting` lines wait; more are dropped and counted, and the count is written when the output is free
    again.
    An output that fails (a closed pipe, a full disk) loses lines and nothing else.
    """

    def __init__(
        self, stream: TextIO, file: RotatedLogFile | None, *, max_waiting: int, lost_line: Callable[[int], str]
    ) -> None:
        self._stream = stream
        self._file = file
        self._max_waiting = max_waiting
        self._lost_line = lost_line
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._busy = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line; never blocks for longer than the queue's lock."""
        with self._changed:
            if self._closing or len(self._waiting) >= self._max_waiting:
                self._lost += 1
                return
            self._waiting.append(line)
            if not self._busy:
                self._changed.notify_all()

    def count_lost(self) -> None:
        """A line was lost before it could be queued."""
        with self._changed:
            self._lost += 1

    def flush(self, within_seconds: float) -> bool:
        """Wait until all that was queued is written; False when the time is over before."""
        deadline = time.monotonic() + within_seconds
        with self._changed:
            self._changed.notify_all()
            while self._waiting or self._busy:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._thread.is_alive():
                    return False
                self._changed.wait(remaining)
        return True

    def close(self, within_seconds: float = 2.0) -> None:
        """Write what waits and end the thread; gives up on an output that is stuck for that long."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(within_seconds)
        if self._file is not None and not self._thread.is_alive():
            self._file.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._lost and not self._closing:
                    self._changed.wait()
                self._busy = not self._closing
            if self._busy:
                time.sleep(_GATHER_SECONDS)
            with self._changed:
                lines = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                lost, self._lost = self._lost, 0
                if not lines and not lost:
                    return
                self._busy = True
            if lost:
                lines.append(self._lost_line(lost))
            self._emit("".join(f"{line}\n" for line in lines))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _emit(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe or stream; the copy on disk goes on
            pass
        if self._file is not None:
            try:
                self._file.write(text.encode("ascii"))
            except OSError:
                self._file.close()
