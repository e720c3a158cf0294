"""event-bus: declares the topology, relays the outbox, drains the dead letters into rows."""

from __future__ import annotations

from callboard import roles
from callboard.bootstrap.distributed.work import RoleWork, Surroundings


async def build(around: Surroundings) -> RoleWork:
    core = around.core
    return RoleWork(loops=[("outbox relay", roles.forever(core.outbox.relay))], checks={"bus": core.bus.ping})
