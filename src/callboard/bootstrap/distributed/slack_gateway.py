"""slack-gateway: Slack in, at the public port, and out."""

from __future__ import annotations

from callboard import roles
from callboard.bootstrap.checks import done_without, slack_check
from callboard.bootstrap.distributed.registration import Registration
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.slack_desk import make_slack_desk
from callboard.errors import CallboardError
from callboard.health import Degraded, HealthChecks
from callboard.integrations.http_server import HttpServer
from callboard.integrations.role_port import public_port
from callboard.messaging.wakeup import WakeUp
from callboard.state.intake import Intake
from callboard.state.lease import ProcessLease


async def build(around: Surroundings) -> RoleWork:
    core = around.core
    intake = Intake(core.store.accept_event, core.bus.deposit)
    # Messages to people are under way here: when this process is gone, others must take them over (R13).
    registration = Registration(core, "slack-gateway")
    lease = ProcessLease(
        core.processes,
        core.clock,
        core.process_id,
        lambda _: None,
        WakeUp(),
        beat_seconds=core.settings.lease_beat_seconds,
        dead_seconds=core.settings.lease_dead_seconds,
    )
    desk = await make_slack_desk(core, intake.accept, around.stack, clock=around.host_clock, may_send=lease.may_start)

    async def database() -> Degraded | None:
        try:
            await core.database.ping()
        except CallboardError:
            # Rule 3: while the broker takes them, requests are accepted all the same.
            await core.bus.ping()
            return Degraded(reason="the database is away: requests are kept by the broker")
        return None

    health = HealthChecks(core.clock)
    health.register("database", database)
    health.register("bus", done_without(core.bus.ping, "requests are stored all the same"))
    health.register("slack", slack_check(desk.gateway))
    server = HttpServer(public_port(desk.gateway.routes(), health), core.settings.host, core.settings.port)
    around.stack.callback(server.close)
    return RoleWork(
        loops=[*roles.lease(lease), *roles.slack_out(desk.responder, desk.wake), *roles.port("http", server)],
        checks={"database": database, "slack": slack_check(desk.gateway)},
        begin=registration.begin,
        end=registration.end,
        serves=server.url,
    )
