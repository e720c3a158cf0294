"""Ports for servers of the tests: chosen beforehand, and nobody else's until the process that chose them ends."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path

# The same for all on this machine, wherever TMPDIR points: one test starts others in temporary folders of their own.
_FILE = Path(f"/tmp/callboard-test-ports-{os.getuid()}")  # noqa: S108
_FIRST, _LAST = 10_000, 65_535
_LOCAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_LOCAL_RANGE = (32_768, 60_999)


def free_port() -> int:
    """A port that nobody listens on and that no other test gets, in whatever process, while this process lives.

    Outgoing connections do not take it either, so a server that was killed finds it free again.
    """
    return _register().draw()


class PortRegister:
    """Hands out each of the candidates once over all processes that share the file.

    A port that was handed out is a locked byte of the file, which the system unlocks when the process ends, however it
    ends. The file must not be opened a second time in a process: closing it there would unlock everything.
    """

    def __init__(self, file: Path, candidates: Sequence[int]) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._candidates = candidates
        self._taken: set[int] = set()

    def draw(self) -> int:
        """From anywhere on, so that what has just been let go is not taken again at once; RuntimeError without any."""
        count = len(self._candidates)
        start = random.SystemRandom().randrange(count)
        for port in (self._candidates[(start + step) % count] for step in range(count)):
            if port not in self._taken and self._lock(port):
                if _nobody_has(port):
                    self._taken.add(port)
                    return port
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, port)
        raise RuntimeError(f"none of {count} ports is free")

    def _lock(self, port: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True


def ports_for_servers() -> list[int]:
    """Those that the system never gives to outgoing connections and to listeners on port 0."""
    low, high = _USUAL_LOCAL_RANGE
    if _LOCAL_RANGE.exists():
        low, high = map(int, _LOCAL_RANGE.read_text(encoding="ascii").split())
    outside = [port for port in range(_FIRST, _LAST + 1) if not low <= port <= high]
    # Where the system leaves none, any will do: it is still no other test's.
    return outside or list(range(_FIRST, _LAST + 1))


@functools.cache
def _register() -> PortRegister:
    return PortRegister(_FILE, ports_for_servers())


def _nobody_has(port: int) -> bool:
    """Neither on 127.0.0.1 nor on any other address of this machine."""
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
