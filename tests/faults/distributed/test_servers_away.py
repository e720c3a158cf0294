"""RabbitMQ, PostgreSQL, Redis away, one after the other and two at once: what goes on, what waits, what is said.

CALLBOARD_AWAY_SECONDS (5) is how long each of them stays away; the issue's own number is 60.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from callboard.integrations.slack_local_workspace import BOT_USER
from callboard.integrations.slack_wire import Channel, Person, message_event
from callboard.messaging.topology import INBOX
from tests.faults.distributed.house import House, house
from tests.support import storm as storms
from tests.support.distributed.cluster import POOLS, ROLES
from tests.support.distributed.nursery import Nursery
from tests.support.servers.quorum_names import until_it_is_named_on_disk
from tests.support.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(900)]

AWAY_SECONDS = float(os.environ.get("CALLBOARD_AWAY_SECONDS", "5"))
SEEN_SECONDS = 30.0
"""Within this time a fault must be visible to whoever watches (RELIABILITY.md, I-5)."""
SLOW = """\
name: slow
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{wait_seconds: 4, say: "slow: {input}"}]}
"""


async def test_A2_A3_C3_D1_I5_servers_that_are_away(tmp_path: Path, loaded: Nursery, subtests: pytest.Subtests) -> None:
    async with house(tmp_path, loaded.spawn) as built:
        agents = storms.agents(built.tools.url)
        await built.add_agents(slow=SLOW, **{name: agents[name] for name in ("echo", "memo", "pulse")})
        with subtests.test("A2 C3 RabbitMQ away: accepted and answered meanwhile"):
            await _without_rabbitmq(built)
        with subtests.test("A3 PostgreSQL away: accepted by the broker, answered afterwards, nobody declared dead"):
            await _without_postgres(built)
        with subtests.test("A3 both away: 503 for events, an honest line for commands"):
            await _without_both(built)
        with subtests.test("A3 D1 Redis killed, frozen, flushed: degraded and nothing else"):
            await _without_redis(built)


async def _without_rabbitmq(built: House) -> None:
    await until_it_is_named_on_disk(built.private.rabbitmq, built.site.servers.rabbitmq, INBOX)
    await built.private.rabbitmq.kill()
    try:
        for number in range(3):
            await _command_answered(built, f"/echo without broker {number}")
        assert (await built.ended(await built.invoke("echo", "by the API")))["status"] == "succeeded"
        assert (await built.ended(await built.invoke("memo", "in order")))["status"] == "succeeded"
        for role in ROLES:
            if role not in ("event-bus", "celery-worker", "scheduler-service"):
                await _shows(built, role, 200, bus="degraded")
        await _shows(built, "event-bus", 503, bus="unhealthy")
        ticks = await _ticks(built)
        await let_pass(AWAY_SECONDS, "the server stays away")
        await _command_answered(built, "/echo still without broker")
        assert await wait_until(lambda: _more_than(built, ticks), "schedules fire without the broker", within=30.0)
    finally:
        await built.private.rabbitmq.start()
    await built.cluster.healthy()
    await _command_answered(built, "/echo broker is back")
    await _shows(built, "slack-gateway", 200, bus="healthy")


async def _without_postgres(built: House) -> None:
    under_way = await built.invoke("slow", "over an outage")

    async def running() -> bool:
        return str((await built.run(under_way))["status"]) == "running"

    await wait_until(running, "a run is under way")
    await built.private.postgres.kill()
    async with built.person() as anna:
        try:
            sent = [await anna.command(f"/echo kept {number}") for number in range(3)]
            mentioned = await _mention(built, "Ev1")
            assert [(item.status, item.body) for item in sent] == [(200, "")] * 3
            assert mentioned == 200
            await _shows(built, "slack-gateway", 200, database="degraded")
            for role in (*POOLS, "api", "agent-orchestrator", "state-manager"):
                await _shows(built, role, 503, database="unhealthy")
            await let_pass(AWAY_SECONDS, "the server stays away")
            sent.append(await anna.command("/echo kept until the end"))
        finally:
            await built.private.postgres.start()
        answers = [await anna.answer_to(item, within_seconds=60.0) for item in sent]
    assert [answer.text for answer in answers] == [*(f"kept {number}" for number in range(3)), "kept until the end"]
    # Slack sends once more what it thinks was lost; the broker had it.
    assert await _mention(built, "Ev1") == 200
    await wait_until(lambda: _messages(built, "mentioned once") == 1, "the mention is answered", within=30.0)
    ended = await built.ended(under_way)
    assert (ended["status"], ended["fencing"], ended["lease_losses"]) == ("succeeded", 1, 0)
    assert await built.site.query("SELECT id FROM processes WHERE dead") == []
    await built.cluster.healthy()
    assert _messages(built, "mentioned once") == 1


async def _without_both(built: House) -> None:
    await asyncio.gather(built.private.postgres.kill(), built.private.rabbitmq.kill())
    try:
        async with built.person() as anna:
            assert await _mention(built, "Ev2") == 503
            told = await anna.command("/echo not kept")
            assert told.status == 200
            assert "ephemeral" in told.body
            assert "try again" in told.body
        await _shows(built, "slack-gateway", 503, database="unhealthy")
    finally:
        await asyncio.gather(built.private.postgres.start(), built.private.rabbitmq.start())
    await built.cluster.healthy()
    await _command_answered(built, "/echo both are back")
    assert _messages(built, "not kept") == 0


async def _without_redis(built: House) -> None:
    redis = built.private.redis
    for fault, heal in ((redis.kill, redis.start), (_as_async(redis.pause), _as_async(redis.resume))):
        await fault()
        try:
            await _command_answered(built, "/echo without cache")
            task = await built.invoke("echo", "cacheless")
            assert (await built.ended(task))["status"] == "succeeded"
            async with built.cluster.client() as client:
                assert (await client.get(f"/api/v1/agents/result/{task}")).json()["output"] == "cacheless"
            for role in ("api", *POOLS):
                await _shows(built, role, 200, redis="degraded")
        finally:
            await heal()
        for role in ("api", *POOLS):
            await _shows(built, role, 200, redis="healthy")
    task = await built.invoke("echo", "before the flush")
    await built.ended(task)
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
    async with built.cluster.client() as http:
        assert (await http.get(f"/api/v1/agents/result/{task}")).json()["output"] == "before the flush"
    await _command_answered(built, "/echo after the flush")


async def _command_answered(built: House, line: str) -> None:
    async with built.person() as anna:
        sent = await anna.command(line)
        assert (sent.status, sent.body) == (200, "")
        assert (await anna.answer_to(sent)).text == line.partition(" ")[2]


async def _mention(built: House, event_id: str) -> int:
    request = message_event(
        f"<@{BOT_USER}> echo mentioned once",
        ts=f"1763.{event_id[2:].zfill(6)}",
        event_id=event_id,
        person=Person(),
        channel=Channel(),
        kind="app_mention",
    )
    async with built.person() as anna:
        return (await anna.post(request)).status_code


def _messages(built: House, text: str) -> int:
    return sum(text in message.text for message in built.slack.messages)


async def _ticks(built: House) -> int:
    rows = await built.site.query("SELECT count(*) AS n FROM occurrences WHERE status IN ('fired', 'caught_up')")
    return int(rows[0]["n"])


async def _more_than(built: House, before: int) -> bool:
    return await _ticks(built) > before


async def _shows(built: House, role: str, status: int, **checks: str) -> None:
    """Whoever watches the role's health sees this soon."""

    async def seen() -> bool:
        code, report = await built.cluster.one(role).health()
        found = {name: report["checks"][name]["status"] for name in checks} if report else {}
        return code == status and found == checks

    await wait_until(seen, f"the health of {role} is {status} with {checks}", within=SEEN_SECONDS)


def _as_async(act: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def acted() -> None:
        act()

    return acted
