"""The HTTP connections of a process to model servers: one client for all providers, closed with the last of them."""

from __future__ import annotations

import httpx2

from callboard.llm.providers.aiohttp_transport import AiohttpTransport

CONNECT_SECONDS = 10.0


class Connections:
    """Lends its client out; made with the first loan, closed when the last is given back."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None
        self._loans = 0

    def borrow(self) -> httpx2.AsyncClient:
        """Each borrower calls `give_back` once."""
        if self._client is None:
            # Each call brings its own time limits; redirects could carry a key to another host.
            self._client = httpx2.AsyncClient(transport=AiohttpTransport(), timeout=None, follow_redirects=False)
        self._loans += 1
        return self._client

    async def give_back(self) -> None:
        self._loans -= 1
        if self._loans == 0 and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()
