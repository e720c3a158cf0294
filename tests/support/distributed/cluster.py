"""Every role of the distributed system, each a process, as many of each as wanted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping

import httpx2

from tests.support.distributed.role_process import RoleProcess
from tests.support.distributed.site import Site
from tests.support.distributed.spawning import Spawn, spawn
from tests.support.http_client import no_certificates
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

POOLS = ("collaborative-agent-pool", "autonomous-agent-pool", "continuous-agent-runner")
CELERY = ("scheduler-service", "celery-worker")
ROLES = ("state-manager", "config-service", "event-bus", "slack-gateway", "api", "agent-orchestrator", *POOLS, *CELERY)
PUBLIC = ("slack-gateway", "api")
STOP_SECONDS = 40.0


class Cluster:
    """The processes over one site. A role's public address stays the same over its restarts.

    What ends here is started again by the test, as the supervisor of a real deployment would do it.
    """

    def __init__(self, site: Site, *, spawn: Spawn = spawn, ports: Mapping[str, int] | None = None) -> None:
        self.site = site
        self._spawn = spawn
        self.processes: list[RoleProcess] = []
        # Known beforehand: a port that the system chose may be an outgoing connection's when the role comes back.
        self._ports = {role: (ports or {}).get(role) or free_port() for role in PUBLIC}

    @property
    def api_url(self) -> str:
        return self.one("api").url

    @property
    def slack_url(self) -> str:
        return self.one("slack-gateway").url

    def of(self, role: str) -> list[RoleProcess]:
        """Those of a role that run, oldest first."""
        return [process for process in self.processes if process.role == role and process.ended is None]

    def one(self, role: str) -> RoleProcess:
        """The oldest of a role that runs."""
        return self.of(role)[0]

    def launch(self, role: str, **environment: str) -> RoleProcess:
        """Starts one more and does not wait."""
        if role in PUBLIC and not self.of(role):
            environment = {"CALLBOARD_PORT": str(self._ports[role]), **environment}
        process = RoleProcess(self.site, role, spawn=self._spawn, **environment)
        self.processes.append(process)
        return process

    async def start(self, roles: Iterable[str] = ROLES, *, scale: Mapping[str, int] | None = None) -> None:
        """All roles at once, in whatever order they get ready; returns when each is up."""
        begun = [self.launch(role) for role in roles for _ in range((scale or {}).get(role, 1))]
        await self.ready(begun)

    async def ready(self, processes: Iterable[RoleProcess]) -> None:
        """Returns when each of them is up."""
        for process in processes:
            await process.ready()

    async def replace(self, process: RoleProcess) -> RoleProcess:
        """Another one in the place of one that has ended."""
        assert process.ended is not None, f"{process.role} still runs"
        new = self.launch(process.role)
        await self.ready([new])
        return new

    async def stop(self, *, within: float = STOP_SECONDS) -> dict[str, int]:
        """SIGTERM to all at once, as compose does it; the exit codes by role and process id."""
        running = [process for process in self.processes if process.ended is None]
        for process in running:
            process.stop()
        codes = [await process.exit_code(within=within) for process in running]
        return {f"{process.role} {process.pid}": code for process, code in zip(running, codes, strict=True)}

    def close(self) -> None:
        """Ends whatever still runs, frozen or not."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def health(self) -> dict[str, int]:
        """The status of each process's health route, 0 where none answers."""
        running = [process for process in self.processes if process.ended is None]
        answers = await asyncio.gather(*(process.health() for process in running))
        return {f"{process.role} {process.pid}": status for process, (status, _) in zip(running, answers, strict=True)}

    async def healthy(self, *, within: float = 60.0) -> None:
        """Returns when every role runs and says 200."""

        async def all_well() -> bool:
            statuses = await self.health()
            return bool(statuses) and all(status == 200 for status in statuses.values())

        try:
            await wait_until(all_well, "every role is healthy", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}: {await self.health()}") from error

    @property
    def told(self) -> str:
        """What the processes warned of last, for the message of a failing test."""
        records = [
            (record["timestamp"], process.role, record)
            for process in self.processes
            for record in process.records()
            if record["level"] not in ("DEBUG", "INFO")
        ]
        lines = [json.dumps({"role": role, **record}) for _, role, record in sorted(records, key=lambda item: item[0])]
        errors = [process.err.read_text()[-1000:] for process in self.processes]
        return "\n".join([*lines[-30:], *filter(None, errors)])

    def client(self) -> httpx2.AsyncClient:
        """A client of the API; it survives a restart of the role."""
        return _client(f"http://127.0.0.1:{self._ports['api']}")

    def slack_client(self) -> httpx2.AsyncClient:
        """A client of the gateway; it survives a restart of the role."""
        return _client(f"http://127.0.0.1:{self._ports['slack-gateway']}")


@contextlib.asynccontextmanager
async def cluster_at(
    site: Site, roles: Iterable[str] = ROLES, *, scale: Mapping[str, int] | None = None, spawn: Spawn = spawn
) -> AsyncIterator[Cluster]:
    """A cluster that is up; killed at the end."""
    cluster = Cluster(site, spawn=spawn)
    try:
        await cluster.start(roles, scale=scale)
        yield cluster
    finally:
        cluster.close()


def _client(url: str) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=64)
    return httpx2.AsyncClient(base_url=url, timeout=15.0, trust_env=False, verify=no_certificates(), limits=limits)
