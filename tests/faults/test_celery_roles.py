"""Beat and Celery workers as real processes over real servers: each occurrence once, whatever dies.

Trials C2, C13 and F5 of RELIABILITY.md's catalogue.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pika
import pytest

from callboard.messaging.topology import TICKS
from tests.support.distributed.cluster import Cluster
from tests.support.distributed.fresh import fresh_servers
from tests.support.distributed.private_servers import private_servers
from tests.support.distributed.role_process import RoleProcess
from tests.support.distributed.site import Site
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ALONE = "no tick can reach the worker: this process looks for itself what is due"
BASIS = ("state-manager", "config-service")


def agent_file(name: str, *schedules: str) -> str:
    entries = "".join(f"\n  - {schedule}" for schedule in schedules)
    return (
        f"name: {name}\nagent_type: reporter\nexecution_mode: scheduled\n"
        f"llm_config: {{provider: scripted, model_id: echo}}\nschedules:{entries}\n"
    )


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with fresh_servers() as servers:
        made = Cluster(Site(root=tmp_path, servers=servers))
        try:
            yield made
        finally:
            made.close()


async def ledger(site: Site, agent: str = "%") -> list[dict[str, Any]]:
    return await site.query(
        "SELECT schedule_id, nominal, status, event_id, created_at FROM occurrences WHERE agent LIKE $1 "
        "ORDER BY nominal, schedule_id",
        agent,
    )


async def fired(site: Site, count: int, agent: str = "%") -> list[dict[str, Any]]:
    """The ledger once it has so many lines that run."""

    async def enough() -> list[dict[str, Any]]:
        lines = [line for line in await ledger(site, agent) if line["event_id"]]
        return lines if len(lines) >= count else []

    return await wait_until(enough, f"{count} occurrences have fired", within=45.0)


async def nothing_fired_twice(site: Site) -> None:
    """Each line that runs has one event, each event one line, and none came before its time."""
    both = await site.query(
        "SELECT o.schedule_id, o.nominal, o.created_at, e.event_id "
        "FROM (SELECT * FROM occurrences WHERE event_id IS NOT NULL) o "
        "FULL JOIN (SELECT * FROM events WHERE event_type = 'scheduled.task') e USING (event_id)"
    )
    assert [row for row in both if row["event_id"] is None or row["schedule_id"] is None] == []
    assert max(Counter((row["schedule_id"], row["nominal"]) for row in both).values()) == 1
    assert all(row["nominal"] <= row["created_at"] for row in both)


async def publish(site: Site, body: bytes) -> None:
    """What anybody may put on the queue."""

    def send() -> None:
        connection = pika.BlockingConnection(pika.URLParameters(site.servers.rabbitmq))
        connection.channel().basic_publish("", TICKS, body)
        connection.close()

    await asyncio.to_thread(send)


def children(process: RoleProcess) -> list[int]:
    """What a worker's role has started: the process that forks first, then its children."""
    return _below(process.pid)


def _below(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _below(child)]


async def test_C13_two_beats_and_three_workers_fire_each_time_once_whoever_is_killed(cluster: Cluster) -> None:
    """A Beat is killed between its ticks, a worker and another one's pool child amid theirs."""
    site = cluster.site
    site.add_agents(
        **{f"a{n}": agent_file(f"a{n}", f"{{interval_seconds: {1 + n % 3}, overlap: allow}}") for n in range(30)}
    )
    await cluster.start((*BASIS, "event-bus"))
    await cluster.start(("scheduler-service", "celery-worker"), scale={"scheduler-service": 2, "celery-worker": 3})
    await fired(site, 100)
    cluster.of("scheduler-service")[0].kill()
    first, second, *_ = cluster.of("celery-worker")
    first.kill()
    os.kill(children(second)[-1], signal.SIGKILL)
    seen = len(await ledger(site))
    await fired(site, seen + 150)
    await nothing_fired_twice(site)
    codes = await cluster.stop()
    assert set(codes.values()) == {0}, cluster.told
    by_time = Counter(line["nominal"] for line in await ledger(site, "a0"))
    times = sorted(by_time)
    assert all(later - earlier == timedelta(seconds=1) for earlier, later in pairwise(times))


async def test_C13_a_stopped_beat_catches_up_by_each_schedule_s_policy(cluster: Cluster) -> None:
    site = cluster.site
    day = "{{id: x, cron: '0 * * * *', misfire: {0}, overlap: allow}}"
    site.add_agents(**{name: agent_file(name, day.format(name)) for name in ("skip", "run_once", "run_all")})
    await cluster.start(BASIS)
    await cluster.start(("scheduler-service",))
    await wait_until(partial(_count, site, "schedules", 3), "the schedules are known")
    stopped = cluster.one("scheduler-service")
    stopped.stop()
    assert await stopped.exit_code() == 0
    since = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(hours=5)
    await site.execute("UPDATE schedules SET since = $1, last_nominal = NULL", since)
    await cluster.start(("scheduler-service", "celery-worker"))

    async def caught_up() -> bool:
        return {line["schedule_id"] for line in await ledger(site)} == {"skip.x", "run_once.x", "run_all.x"}

    await wait_until(caught_up, "all three are decided", within=30.0)
    statuses = {
        name: Counter(line["status"] for line in await ledger(site, name)) for name in ("skip", "run_once", "run_all")
    }
    on_time = statuses["skip"]["fired"]  # one, where the test runs within a minute of the full hour
    assert statuses["skip"]["missed"] >= 4
    assert statuses["skip"]["caught_up"] == 0
    assert statuses["run_once"]["caught_up"] + on_time == 1
    assert statuses["run_once"]["skipped"] >= 3
    assert statuses["run_all"]["caught_up"] >= 4
    assert statuses["run_all"]["missed"] == statuses["run_all"]["skipped"] == 0
    await nothing_fired_twice(site)


async def test_a_changed_definition_is_followed_without_a_restart_whatever_else_is_on_the_queue(
    cluster: Cluster,
) -> None:
    site = cluster.site
    site.add_agents(one=agent_file("one", "{cron: '0 0 1 1 *'}"))
    await cluster.start((*BASIS, "scheduler-service", "celery-worker"))
    # What is changed must be known first: one that is replaced within a second of its start never was a schedule.
    await wait_until(
        partial(_count, site, "schedules WHERE removed_at IS NULL", 1), "the first definition is known", within=20.0
    )
    assert await ledger(site) == []
    for body in (b"", b"\xff\x00", b'{"task": 1}', b"[[], {}, {}]"):
        await publish(site, body)
    site.add_agents(one=agent_file("one", "{interval_seconds: 1, overlap: allow, input: changed}"))
    first = (await fired(site, 2))[0]
    (event,) = await site.query("SELECT trace_id, payload FROM events WHERE event_id = $1", first["event_id"])
    assert b"changed" in event["payload"]

    def told() -> bool:
        return any(
            record["trace_id"] == event["trace_id"] and record["message"] == "scheduled task published"
            for record in cluster.one("celery-worker").records()
        )

    await wait_until(told, "the worker tells of it under the event's trace id")
    (site.agents / "one.yaml").unlink()
    removed = partial(_count, site, "schedules WHERE removed_at IS NOT NULL", 2)
    await wait_until(removed, "the schedules are removed", within=40.0)
    for process in cluster.processes:
        process.stop()
    assert [await process.exit_code() for process in cluster.processes] == [0] * 4
    output = "".join(process.out.read_text() + process.err.read_text() for process in cluster.processes)
    assert "\x1b[" not in output
    assert all(process.records() is not None for process in cluster.processes)


async def test_C2_a_worker_that_dies_amid_a_task_leaves_it_to_another(cluster: Cluster) -> None:
    """The task waits for a lock that the test holds, so that it is under way for certain."""
    site = cluster.site
    site.add_agents(one=agent_file("one", "{id: x, interval_seconds: 1, overlap: allow}"))
    await cluster.start((*BASIS, "scheduler-service", "celery-worker"))
    await fired(site, 1)
    holder = await asyncpg.connect(site.servers.postgres)
    async with holder.transaction():
        await holder.execute("SELECT 1 FROM schedules FOR UPDATE")
        before = len(await ledger(site))

        async def waits() -> bool:
            rows = await site.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return len(rows) > 0

        await wait_until(waits, "a task is under way")
        cluster.one("celery-worker").kill()
    await holder.close()
    await cluster.start(("celery-worker",))
    await fired(site, before + 3)
    await nothing_fired_twice(site)


async def test_broker_and_database_go_away_and_come_back_and_no_time_is_lost(tmp_path: Path) -> None:
    """C3 and D2 for the schedules. Without the broker the worker's role looks for itself what is due."""
    async with private_servers(tmp_path / "servers") as private:
        cluster = Cluster(Site(root=tmp_path / "site", servers=private.servers))
        site = cluster.site
        site.add_agents(one=agent_file("one", "{interval_seconds: 2, overlap: allow, misfire: skip}"))
        try:
            await cluster.start(BASIS)
            await cluster.start(("scheduler-service", "celery-worker"))
            await fired(site, 2)
            await private.rabbitmq.kill()
            await cluster.one("celery-worker").logged(
                "no tick can reach the worker: this process looks for itself what is due"
            )
            await fired(site, len(await ledger(site)) + 5)
            status, report = await cluster.one("scheduler-service").health()
            assert (status, report["checks"]["beat"]["status"]) == (200, "degraded")
            await private.rabbitmq.start()
            await wait_until(partial(_healthy, cluster), "Beat and worker are healthy again", within=30.0)
            await fired(site, len(await ledger(site)) + 3)
            await private.postgres.kill()
            await cluster.one("scheduler-service").logged(
                "the database is away: schedules are ticked as they were known"
            )
            await private.postgres.start()
            await fired(site, len(await ledger(site)) + 3)
            await nothing_fired_twice(site)
            lines = await ledger(site)
            assert {line["status"] for line in lines} == {"fired"}
            assert {later["nominal"] - earlier["nominal"] for earlier, later in pairwise(lines)} == {
                timedelta(seconds=2)
            }
            assert set((await cluster.stop()).values()) == {0}, cluster.told
        finally:
            cluster.close()


@pytest.mark.parametrize("trouble", ["password", "queue"])
async def test_a_broker_that_refuses_is_told_of_and_asked_again_slowly(cluster: Cluster, trouble: str) -> None:
    """A wrong password, and a queue that somebody has declared in another way; schedules fire all the same."""
    site, url = cluster.site, cluster.site.servers.rabbitmq
    site.add_agents(one=agent_file("one", "{interval_seconds: 1, overlap: allow}"))
    await cluster.start(BASIS)
    if trouble == "password":
        url = url.replace("callboard:callboard@", "callboard:wrong-secret@")
    else:
        await asyncio.to_thread(declare_otherwise, url)
    roles = [cluster.launch(role, RABBITMQ_URL=url) for role in ("scheduler-service", "celery-worker")]
    await cluster.ready(roles)
    beat, worker = roles
    await beat.logged("RabbitMQ cannot be reached: schedules wait for it")
    await fired(site, 12)
    assert 1 <= len(refused(worker)) <= 15, worker.told
    assert len([record for record in beat.records() if record["component"] == "beat"]) <= 3
    assert "wrong-secret" not in "".join(process.out.read_text() + process.err.read_text() for process in roles)
    for process in roles:
        process.stop()
        assert await process.exit_code() == 0


def refused(worker: RoleProcess) -> list[str]:
    """What Celery itself said of its broker."""
    return [
        record["message"]
        for record in worker.records()
        if record["component"].startswith("celery") and record["level"] != "INFO"
    ]


def declare_otherwise(url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare(TICKS, durable=True)
    connection.close()


async def _healthy(cluster: Cluster) -> bool:
    reports = [await cluster.one(role).health() for role in ("scheduler-service", "celery-worker")]
    return all(check["status"] == "healthy" for _, report in reports for check in report["checks"].values())


async def _count(site: Site, what: str, least: int) -> bool:
    (row,) = await site.query(f"SELECT count(*) AS n FROM {what}")  # noqa: S608  # of this file
    return bool(row["n"] >= least)
