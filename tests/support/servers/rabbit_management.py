"""The part of RabbitMQ's HTTP management API that tests use."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2


class RabbitManagement:
    """Virtual hosts and what is in them. The URL holds the user: http://USER:PASSWORD@HOST:PORT."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._root = f"{parts.scheme}://{parts.hostname}:{parts.port}/api"
        self._login = (parts.username or "", parts.password or "")

    async def is_ready(self) -> bool:
        """Whether the API answers to this user."""
        try:
            return (await self._request("GET", "/whoami")).status_code == 200
        except httpx2.TransportError:
            return False

    async def add_vhost(self, name: str) -> None:
        """A new virtual host in which the API's user may do everything."""
        (await self._request("PUT", f"/vhosts/{quote(name, safe='')}")).raise_for_status()

    async def drop_vhost(self, name: str) -> None:
        """Take a virtual host away with its queues; its connections are closed. A missing one is fine."""
        await self._request("DELETE", f"/vhosts/{quote(name, safe='')}")

    async def queues(self, vhost: str) -> list[dict[str, Any]]:
        """The queues of a virtual host as the API describes them."""
        answer = await self._request("GET", f"/queues/{quote(vhost, safe='')}")
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    async def drop_queue(self, vhost: str, name: str) -> None:
        """Delete a queue as somebody at the management page would."""
        answer = await self._request("DELETE", f"/queues/{quote(vhost, safe='')}/{quote(name, safe='')}")
        answer.raise_for_status()

    async def drop_exchange(self, vhost: str, name: str) -> None:
        """Delete an exchange with its bindings."""
        answer = await self._request("DELETE", f"/exchanges/{quote(vhost, safe='')}/{quote(name, safe='')}")
        answer.raise_for_status()

    async def _request(self, method: str, path: str) -> httpx2.Response:
        # Nothing here is encrypted: loading the machine's certificates would take longer than the request.
        async with httpx2.AsyncClient(
            timeout=20, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ) as client:
            return await client.request(method, self._root + path, auth=self._login)
