"""api: the HTTP API."""

from __future__ import annotations

from callboard import roles
from callboard.bootstrap.checks import role_checks
from callboard.bootstrap.desk import make_desk
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.orchestration import make_scheduler
from callboard.bootstrap.places import check_address
from callboard.bootstrap.workshop import make_workshop
from callboard.messaging.topology import ALL_AGENT_STATUSES

PORT = 8000
"""Unless CALLBOARD_PORT says otherwise (INTERFACE.md, section 7)."""


async def build(around: Surroundings) -> RoleWork:
    core, settings = around.core, around.core.settings
    check_address(settings)
    workshop = make_workshop(core, around.redactor, runs_agents=False)
    scheduler = make_scheduler(core)
    port = settings.port if "port" in settings.model_fields_set else PORT
    desk = make_desk(core, workshop.registry, scheduler, workshop.toolbox, role_checks(core), around.stack, port=port)

    async def begin() -> None:
        await workshop.toolbox.watch.start()
        await core.catalog.refresh()
        await workshop.registry.refresh()

    return RoleWork(
        loops=[
            *roles.definitions(core.catalog),
            *roles.agent_statuses(workshop.registry, core.bus.listen([ALL_AGENT_STATUSES])),
            *roles.project_tools(workshop.toolbox.watch),
            *roles.port("http", desk.server),
        ],
        begin=begin,
        serves=desk.server.url,
    )
