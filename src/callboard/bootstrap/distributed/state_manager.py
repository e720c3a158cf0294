"""state-manager: migrates the database at its start, then sweeps."""

from __future__ import annotations

from callboard import roles
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.sweeping import make_paused_runs, make_sweeper


async def build(around: Surroundings) -> RoleWork:
    return RoleWork(loops=roles.state_manager(make_sweeper(around.core), make_paused_runs(around.core)))
