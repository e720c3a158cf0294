"""Names to addresses, as a port: what is checked must be what is connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Protocol


class Resolver(Protocol):
    """Asked once a connection; the answer is never asked for again behind the caller's back."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, best first, at least one; raises OSError when there is none."""
        ...


class SystemResolver:
    """The machine's own: its hosts file, its name servers."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        if not addresses:
            raise OSError(f"{host} has no address")
        return list(addresses)
