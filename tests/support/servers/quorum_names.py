"""When RabbitMQ has written the name of a new quorum queue: killed earlier, it shows a weakness of its own."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from tests.support.servers.rabbit_server import RabbitServer
from tests.support.waiting import wait_until


async def until_it_is_named_on_disk(server: RabbitServer, url: str, queue: str) -> None:
    """RabbitMQ writes the name of a new quorum queue up to some seconds after it has confirmed its first messages.

    A crash before that forgets what is in it (docs/decisions/0012-first-seconds-of-a-quorum-queue.md).
    """
    host = unquote(urlsplit(url).path[1:]) or "/"
    name = f"{'%2F' if host == '/' else host}_{queue}".encode()
    atom = bytes([len(name)]) + name  # with its length: q.retry.1s begins with the same letters

    def named() -> bool:
        return any(atom in path.read_bytes() for path in (server.folder / "data").glob("*/quorum/*/names.dets"))

    await wait_until(named, f"the name of {queue} is on disk")
