"""config-service: watches the folders of agent files, validates, versions, announces."""

from __future__ import annotations

from callboard import roles
from callboard.bootstrap.built_in_tools import make_tools
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.orchestration import make_configuration
from callboard.state.lock_store import DatabaseLease


async def build(around: Surroundings) -> RoleWork:
    core = around.core
    lease = DatabaseLease(
        core.database, "config-service", core.process_id, seconds=core.settings.lease_dead_seconds / 2
    )
    toolbox = make_tools(core)
    configuration = make_configuration(core, toolbox.registry.known, lease)
    toolbox.project.subscribe(configuration.tools_changed)

    async def begin() -> None:
        await toolbox.watch.start()
        await configuration.start()

    return RoleWork(
        loops=[
            *roles.definitions(core.catalog),
            *roles.project_tools(toolbox.watch),
            *roles.config_service(configuration),
        ],
        begin=begin,
    )
