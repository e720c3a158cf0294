"""The HTTP connections of a process to model servers: one client for all providers, closed with the last of them."""

from __future__ import annotations

import httpx2

CONNECT_SECONDS = 10.0
KEPT_CONNECTIONS = 200


class Connections:
    """Lends its client out; made with the first loan, closed when the last is given back."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None
        self._loans = 0

    def borrow(self) -> httpx2.AsyncClient:
        """Each borrower calls `give_back` once. As many connections as calls: who may call is decided elsewhere."""
        if self._client is None:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)
            # Each call brings its own time limits; redirects could carry a key to another host.
            self._client = httpx2.AsyncClient(limits=limits, timeout=None, follow_redirects=False)
        self._loans += 1
        return self._client

    async def give_back(self) -> None:
        self._loans -= 1
        if self._loans == 0 and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()
