"""`callboard serve ROLE`: one role of the distributed system."""

from __future__ import annotations

import importlib

import click

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
"""The services of the compose file; named here so that the help loads none of them."""


@click.command(epilog=f"ROLE is one of {', '.join(ROLES)}.")
@click.argument("role", metavar="ROLE", type=click.Choice(ROLES))
def serve(role: str) -> int:
    """Run one ROLE, with PostgreSQL, RabbitMQ and Redis between the roles. SIGTERM drains, twice forces.

    Exit codes: 0 ended by a signal, 1 it could not run or one of its parts died.
    """
    run = importlib.import_module("callboard.bootstrap.distributed").serve
    code: int = run(load_settings(), role)
    return code
