"""The distributed system behind the `Callboard` handle."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.support.distributed.cluster import Cluster
from tests.support.distributed.site import Servers, Site
from tests.support.distributed.spawning import Spawn, spawn
from tests.support.system import Addresses, Place, Start


def distributed(servers: Servers, spawn: Spawn = spawn) -> Start:
    """Starts a process a role over these servers, which keep what was stored when it is stopped."""

    @contextlib.asynccontextmanager
    async def start(place: Place) -> AsyncIterator[Addresses]:
        environment = {
            "SLACK_API_URL": place.slack.api_url,
            "CALLBOARD_DRAIN_SECONDS": str(place.drain_seconds),
        }
        site = Site(root=place.agents.parent, servers=servers, environment=environment)
        cluster = Cluster(site, spawn=spawn, ports={"api": place.port, "slack-gateway": place.slack_port})
        try:
            await cluster.start()
            await cluster.healthy()  # Celery's worker is up a while after its role
            yield Addresses(api=cluster.api_url, slack=cluster.slack_url)
            await cluster.stop()
        finally:
            cluster.close()

    return start
