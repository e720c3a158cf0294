"""Faults, as steps of a storm: what is hit, and how."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from tests.support.distributed.cluster import Cluster
from tests.support.distributed.private_servers import PrivateServers
from tests.support.distributed.role_process import RoleProcess
from tests.support.waiting import wait_until

SERVERS = ("postgres", "rabbitmq", "redis")
STOP_SECONDS = 35.0
"""How long compose waits for a process before it kills it (`stop_grace_period`)."""


Fault = Literal["kill", "freeze", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault: `kill` is kill -9, `freeze` SIGSTOP for so long, `restart` the orderly way.

    A killed server stays away for `seconds`; a role is started again at once by its supervisor.
    """

    fault: Fault
    part: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.fault} {self.part}" + (f" for {self.seconds:g} s" if self.seconds else "")


class Injury:
    """Does what the steps say, to a cluster under supervision and its servers."""

    def __init__(self, cluster: Cluster, private: PrivateServers) -> None:
        self._cluster = cluster
        self._private = private
        self.told: list[str] = []
        """What is not as it should be about the way that processes end."""

    async def inflict(self, step: Step) -> None:
        """Returns when the part works again, as far as that depends on it alone."""
        if step.part in SERVERS:
            await self._server(step)
        else:
            await self._role(step)

    async def _server(self, step: Step) -> None:
        server = self._private.named(step.part)
        match step.fault:
            case "kill":
                await server.kill()
                await asyncio.sleep(step.seconds)
                await server.start()
            case "freeze":
                server.pause()
                await asyncio.sleep(step.seconds)
                server.resume()
            case "restart":
                await server.restart()

    async def _role(self, step: Step) -> None:
        process = await self._up(step.part)
        match step.fault:
            case "kill":
                process.kill()
            case "freeze":
                process.freeze()
                await asyncio.sleep(step.seconds)
                process.thaw()
            case "restart":
                process.stop()
                code = await process.exit_code(within=STOP_SECONDS)
                if code != 0:
                    self.told.append(f"{step.part} ended with {code} after SIGTERM\n{process.told}")
        await self._up(step.part, instead_of=None if step.fault == "freeze" else process)

    async def _up(self, role: str, instead_of: RoleProcess | None = None) -> RoleProcess:
        """One of the role that is up."""

        def found() -> RoleProcess | None:
            return next(
                (process for process in self._cluster.of(role) if process is not instead_of and process.is_up()), None
            )

        process = await wait_until(found, f"{role} is up", within=60.0)
        assert process is not None
        return process
