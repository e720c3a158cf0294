"""The three pools: each claims and executes the runs of its mode."""

from __future__ import annotations

from collections.abc import Callable

from callboard import roles
from callboard.agents.performer import Performer
from callboard.bootstrap import pools as of_pools
from callboard.bootstrap.core import Core
from callboard.bootstrap.distributed.registration import Registration
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.pools import make_pools
from callboard.bootstrap.workshop import make_availability, make_workshop
from callboard.messaging.topology import ALL_AGENT_STATUSES


async def autonomous(around: Surroundings) -> RoleWork:
    return await _pool(around, "autonomous-agent-pool", of_pools.autonomous)


async def collaborative(around: Surroundings) -> RoleWork:
    return await _pool(around, "collaborative-agent-pool", of_pools.collaborative)


async def continuous(around: Surroundings) -> RoleWork:
    return await _pool(around, "continuous-agent-runner", of_pools.continuous)


async def _pool(around: Surroundings, role: str, performer: Callable[[Core], Performer]) -> RoleWork:
    core = around.core
    workshop = make_workshop(core, around.redactor)
    performers = [performer(core)]
    around.stack.push_async_callback(workshop.mcp.close)
    made = make_pools(core, workshop, performers)
    availability = make_availability(core, workshop, performers)
    registration = Registration(core, role)

    async def begin() -> None:
        await workshop.toolbox.watch.start()
        await core.catalog.refresh()
        await workshop.registry.refresh()
        await registration.begin()

    return RoleWork(
        loops=[
            *roles.lease(made.lease),
            *roles.definitions(core.catalog),
            *roles.agent_statuses(workshop.registry, core.bus.listen([ALL_AGENT_STATUSES])),
            *roles.availability(availability),
            *roles.models_file(workshop.models),
            *roles.project_tools(workshop.toolbox.watch),
            *roles.agent_pools(made.pools, made.vital_signs),
        ],
        begin=begin,
        end=registration.end,
    )
