"""TLS to the servers by the addresses that docs/how-to/deploy.md shows."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.deploy.tls_front import make_certificate, tls_front
from tests.support.distributed.cluster import Cluster
from tests.support.distributed.nursery import Nursery, nursery
from tests.support.distributed.site import Servers, Site
from tests.support.servers.fresh_postgres import fresh_postgres
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.servers.fresh_vhost import fresh_vhost
from tests.support.servers.session_servers import missing
from tests.support.waiting import wait_until

ROLES = ("event-bus", "scheduler-service", "celery-worker")
"""What speaks to the broker by a library of its own each time: pika, and Celery's for Beat and the worker."""


@pytest.fixture(scope="module")
def loaded() -> Iterator[Nursery]:
    with nursery() as running:
        yield running


@pytest.fixture
async def behind_tls(tmp_path: Path) -> AsyncIterator[Site]:
    """Servers that are reached by TLS alone; SSL_CERT_FILE names whom to trust."""
    if shutil.which("openssl") is None:
        missing("needs openssl: on Debian apt-get install openssl")
    certificate = make_certificate(tmp_path)
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(fresh_postgres())
        rabbitmq = await stack.enter_async_context(fresh_vhost())
        redis = await stack.enter_async_context(fresh_redis())

        async def fronted(url: str, scheme: str, query: str = "", *, is_postgres: bool = False) -> str:
            parts = urlsplit(url)
            front = tls_front(parts.port or 0, certificate, postgres=is_postgres)
            port = await stack.enter_async_context(front)
            place = f"{parts.netloc.rpartition(':')[0]}:{port}"
            return urlunsplit((scheme, place, parts.path, query, ""))

        servers = Servers(
            postgres=await fronted(
                postgres, "postgresql", f"sslmode=verify-full&sslrootcert={certificate.authority}", is_postgres=True
            ),
            rabbitmq=await fronted(rabbitmq, "amqps"),
            redis=await fronted(redis, "rediss"),
        )
        yield Site(root=tmp_path, servers=servers, environment={"SSL_CERT_FILE": str(certificate.authority)})


@pytest.mark.slow
@pytest.mark.distributed
async def test_every_library_speaks_tls_with_its_server(behind_tls: Site, loaded: Nursery) -> None:
    cluster = Cluster(behind_tls, spawn=loaded.spawn)
    try:
        await cluster.start(ROLES)

        async def well() -> bool:
            reports = [(await cluster.one(role).health())[1] for role in ROLES]
            return {check["status"] for report in reports for check in report["checks"].values()} == {"healthy"}

        await wait_until(well, "database, bus, cache and Celery are healthy")
    finally:
        cluster.close()


@pytest.mark.slow
@pytest.mark.distributed
async def test_a_certificate_that_nobody_vouches_for_is_refused(behind_tls: Site, loaded: Nursery) -> None:
    cluster = Cluster(behind_tls, spawn=loaded.spawn)
    try:
        role = cluster.launch("event-bus", SSL_CERT_FILE="/dev/null")
        await cluster.ready([role])

        async def bypassed() -> bool:
            _, report = await role.health()
            statuses = {name: check["status"] for name, check in report["checks"].items()}
            return statuses == {"database": "healthy", "bus": "unhealthy", "redis": "degraded"}

        await wait_until(bypassed, "neither broker nor cache is spoken to")
        refused = await role.logged("no connection to RabbitMQ; trying again")
        assert "certificate" in refused["reason"].lower()
    finally:
        cluster.close()
