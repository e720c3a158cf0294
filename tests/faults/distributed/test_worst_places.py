"""A11, C1: roles that end, as by kill -9, exactly where most would go wrong; nothing is lost and nothing done twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.distributed.house import House, house
from tests.support import storm as storms
from tests.support.checker import check, come_to_rest, read_records
from tests.support.distributed.cluster import CELERY, ROLES
from tests.support.distributed.nursery import Nursery
from tests.support.distributed.role_process import UP
from tests.support.storm import Storm
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(400)]

PLACES = (
    ("gateway.verified", "slack-gateway"),
    ("gateway.accepted", "slack-gateway"),
    ("store.accepted", "api"),
    ("outbox.told", "api"),
    ("store.routed", "agent-orchestrator"),
    ("store.claimed", "autonomous-agent-pool"),
    ("tool.attempting", "autonomous-agent-pool"),
    ("tool.called", "autonomous-agent-pool"),
    ("tool.recorded", "autonomous-agent-pool"),
    ("store.settled", "continuous-agent-runner"),
    ("store.settled", "collaborative-agent-pool"),
    ("responder.attempting", "slack-gateway"),
    ("responder.sent", "slack-gateway"),
)


async def test_A11_C1_a_role_killed_at_the_worst_place_loses_nothing_and_doubles_nothing(
    tmp_path: Path, loaded: Nursery
) -> None:
    roles = [role for role in ROLES if role not in CELERY]
    async with house(tmp_path, loaded.spawn, roles=roles) as built:
        agents = storms.agents(built.tools.url)
        await built.add_agents(**{name: text for name, text in agents.items() if name not in ("pulse", "deals")})
        storm = Storm(built.slack, random.Random(0), pause_seconds=0.2)  # noqa: S311  # nothing is left to chance here
        await storm.against(built.cluster)
        try:
            for number, (place, role) in enumerate(PLACES):
                async with asyncio.TaskGroup() as tasks:
                    await _killed_at(built, storm, place, role, number, tasks)
                # A run that loses four processes ends as `worker_lost`: each place has runs of its own.
                await come_to_rest(built.site, built.cluster)
        finally:
            await storm.close()
        found = check(storm.ledger, built.slack.messages, built.tools, await read_records(built.site))
        assert not found.report, f"{found.report}\n{built.cluster.told}"


async def _killed_at(built: House, storm: Storm, place: str, role: str, number: int, tasks: asyncio.TaskGroup) -> None:
    """The role runs with that place armed until a burst of requests has taken it there; then it runs as usual."""
    cluster = built.cluster
    usual = cluster.one(role)
    usual.stop()
    assert await usual.exit_code() == 0, usual.told
    armed = cluster.launch(role, CALLBOARD_FAILPOINT=place)
    # What was left to do may take it there before anybody has heard that it is up.
    await wait_until(lambda: armed.ended is not None or armed.has_said(UP), f"{role} is up")
    storm.burst(str(number), tasks)
    await wait_until(lambda: armed.ended is not None, f"{role} reaches {place}")
    assert armed.ended == -9, armed.told
    await cluster.replace(armed)
