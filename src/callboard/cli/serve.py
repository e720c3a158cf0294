"""`callboard serve ROLE`: one role of the distributed system."""

from __future__ import annotations

import click

from callboard.errors import UnavailableError

ROLES = (
    "config-service",
    "state-manager",
    "event-bus",
    "slack-gateway",
    "api",
    "agent-orchestrator",
    "collaborative-agent-pool",
    "autonomous-agent-pool",
    "continuous-agent-runner",
    "scheduler-service",
    "celery-worker",
)


@click.command()
@click.argument("role", type=click.Choice(ROLES))
def serve(role: str) -> None:
    """Run one ROLE, with PostgreSQL and RabbitMQ between the roles."""
    raise UnavailableError(
        f"role {role!r} cannot run as a process of its own in this release: `callboard up` runs every role in one"
    )
