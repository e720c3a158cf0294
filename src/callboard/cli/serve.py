"""`callboard serve ROLE`: one role of the distributed system."""

from __future__ import annotations

import importlib

import click

from callboard.settings import load_settings

ROLES = {
    "config-service": "callboard.bootstrap.distributed:serve",
    "state-manager": "callboard.bootstrap.distributed:serve",
    "event-bus": "callboard.bootstrap.distributed:serve",
    "slack-gateway": "callboard.bootstrap.distributed:serve",
    "api": "callboard.bootstrap.distributed:serve",
    "agent-orchestrator": "callboard.bootstrap.distributed:serve",
    "collaborative-agent-pool": "callboard.bootstrap.distributed:serve",
    "autonomous-agent-pool": "callboard.bootstrap.distributed:serve",
    "continuous-agent-runner": "callboard.bootstrap.distributed:serve",
    "scheduler-service": "callboard.bootstrap.celery_roles:scheduler_service",
    "celery-worker": "callboard.bootstrap.celery_roles:celery_worker",
}
"""The services of the compose file, and what runs each."""


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
def serve(role: str) -> int:
    """Run one ROLE, with PostgreSQL, RabbitMQ and Redis between the roles. SIGTERM drains, twice forces.

    Exit codes: 0 ended by a signal, 1 it could not run or one of its parts died.
    """
    module, _, name = ROLES[role].partition(":")
    run = getattr(importlib.import_module(module), name)
    settings = load_settings()
    code: int = run(settings, role)
    return code
