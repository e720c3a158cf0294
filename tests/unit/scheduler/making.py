"""Schedules and definitions for the tests of this folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from callboard.config.definition import AgentDefinition
from callboard.scheduler.schedule import Schedule


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(expression: str, timezone: str = "UTC", *, name: str = "standup.one", **settings: Any) -> Schedule:
    return Schedule(schedule_id=name, agent=name.split(".")[0], cron=expression, timezone=timezone, **settings)


def every(seconds: int, timezone: str = "UTC", *, name: str = "standup.one", **settings: Any) -> Schedule:
    agent = name.split(".")[0]
    return Schedule(schedule_id=name, agent=agent, interval_seconds=seconds, timezone=timezone, **settings)


def agent(*schedules: dict[str, Any], name: str = "standup") -> AgentDefinition:
    """An agent with these entries under `schedules`."""
    return AgentDefinition.model_validate(
        {
            "name": name,
            "agent_type": "reporter",
            "execution_mode": "autonomous",
            "llm_config": {"provider": "scripted", "model_id": "echo"},
            "schedules": list(schedules),
        }
    )
