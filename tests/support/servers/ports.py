"""Ports for servers of the tests."""

from __future__ import annotations

import random
import socket

# Below the ports that outgoing connections take by themselves: a server that was killed finds its port free again.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, drawn at random so that parallel workers rarely meet."""
    while True:
        port = random.SystemRandom().randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
