"""How many tasks a peer's workers have done, without a message or a query that would be counted as their work."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from pathlib import Path

PLACES = 64
WORD = struct.Struct("q")
ALL = struct.Struct(f"{PLACES}q")
VARIABLE = "BENCHMARK_COUNTER"


class Counter:
    """A shared page with one counter a process: no locks, as each writes its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        handle = os.open(path, os.O_RDWR)
        self._page = mmap.mmap(handle, PLACES * WORD.size)
        os.close(handle)
        self._place = os.getpid() % PLACES

    @classmethod
    def made(cls) -> Counter:
        """A new counter; children find it by the environment."""
        handle, name = tempfile.mkstemp(prefix="callboard-count-")
        os.write(handle, bytes(PLACES * WORD.size))
        os.close(handle)
        os.environ[VARIABLE] = name
        return cls(Path(name))

    @classmethod
    def inherited(cls) -> Counter:
        return cls(Path(os.environ[VARIABLE]))

    def one_more(self) -> None:
        at = self._place * WORD.size
        WORD.pack_into(self._page, at, WORD.unpack_from(self._page, at)[0] + 1)

    def total(self) -> int:
        return sum(ALL.unpack_from(self._page))

    def wait(self, total: int, within_seconds: float = 200.0) -> float:
        """The moment (perf_counter) at which so many were done, to a millisecond."""
        deadline = time.monotonic() + within_seconds
        while self.total() < total:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.total()} of {total} done after {within_seconds:g} s")
            time.sleep(0.001)
        return time.perf_counter()

    def close(self) -> None:
        """Takes the page away; who has it open goes on."""
        self._page.close()
        self.path.unlink()
