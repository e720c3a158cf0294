"""A virtual host of its own for a test, in the shared RabbitMQ."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

from tests.support.servers.rabbit_management import RabbitManagement
from tests.support.servers.session_servers import RABBITMQ_MANAGEMENT_URL, RABBITMQ_URL, session_url


@contextlib.asynccontextmanager
async def fresh_vhost() -> AsyncIterator[str]:
    """The URL of an empty virtual host; it goes away afterwards, with what is in it. About 50 ms each way."""
    url = session_url(RABBITMQ_URL)
    management = RabbitManagement(session_url(RABBITMQ_MANAGEMENT_URL))
    name = f"test-{secrets.token_hex(8)}"
    await management.add_vhost(name)
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        await management.drop_vhost(name)
