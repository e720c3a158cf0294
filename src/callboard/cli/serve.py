"""`callboard serve ROLE`: one role of the distributed system."""

from __future__ import annotations

import click

from callboard.errors import UnavailableError
from callboard.settings import load_settings

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
    settings = load_settings()
    needed = {"DATABASE_URL": settings.database_url, "RABBITMQ_URL": settings.rabbitmq_url}
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise UnavailableError(
            f"role {role!r} needs {' and '.join(missing)}: set them, or run everything in one process with "
            "`callboard up`"
        )
    raise UnavailableError(
        f"role {role!r} cannot run as a process of its own in this release: `callboard up` runs every role in one"
    )
