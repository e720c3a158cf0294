"""A storm of mixed requests over a whole cluster while its parts are killed, frozen and restarted one after the other.

Everything that took part keeps a ledger; afterwards the checker joins them (RELIABILITY.md, section 3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from tests.faults.distributed.house import house
from tests.support import storm as storms
from tests.support.checker import Findings, check, come_to_rest, read_records
from tests.support.distributed.injury import Injury, Step
from tests.support.distributed.other_system import add_to, other_system
from tests.support.distributed.private_servers import PrivateServers
from tests.support.distributed.site import Site
from tests.support.distributed.spawning import Spawn, spawn
from tests.support.distributed.supervision import Supervision, supervised
from tests.support.storm import Storm
from tests.support.tool_server import ToolServer
from tests.support.waiting import wait_until

REQUESTS = int(os.environ.get("CALLBOARD_STORM_REQUESTS", "300"))
HEALTHY_SECONDS = 60.0
TICK_SECONDS = 2
"""Slack takes one message a second in a channel: what an outage has held up must be able to catch up."""
SEED = "CALLBOARD_STORM_SEED"


def storm_seed() -> int:
    """The one that is asked for, else a new one; shown with a failure."""
    seed = int(os.environ.get(SEED, secrets.randbits(32)))
    print(f"{SEED}={seed}")
    return seed


async def weather(
    folder: Path,
    steps: Sequence[Step],
    *,
    seed: int,
    gap_seconds: float = 1.0,
    requests: int = REQUESTS,
    scale: Mapping[str, int] | None = None,
    spawn: Spawn = spawn,
) -> None:
    """Sends `requests` at a steady rate while the steps are taken; everything must come out right afterwards."""
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    spread = sum(step.seconds + gap_seconds + 2.0 for step in steps)
    async with contextlib.AsyncExitStack() as stack:
        built = await stack.enter_async_context(house(folder, spawn, scale=scale))
        cluster, site, private, slack, tools = built.cluster, built.site, built.private, built.slack, built.tools
        crm = await stack.enter_async_context(other_system(private.rabbitmq.url))
        await built.add_agents(**storms.agents(tools.url, tick_seconds=TICK_SECONDS))
        storm = Storm(slack, chance, pause_seconds=0.5)
        add_to(storm, crm)
        await storm.against(cluster)
        stack.push_async_callback(storm.close)
        watch = await stack.enter_async_context(supervised(cluster))
        injury = Injury(cluster, private)
        try:
            await _rage(storm, injury, steps, chance, requests, spread, gap_seconds)
            began = time.monotonic()
            await cluster.healthy(within=HEALTHY_SECONDS)
            healed = time.monotonic() - began
            async with cluster.client() as client:
                assert (await client.post("/api/v1/schedules/pulse/pause", json={})).status_code == 200
            await come_to_rest(site, cluster, within=60.0)
            rested = time.monotonic() - began
            found = check(storm.ledger, slack.messages, tools, await read_records(site))
            (site.agents / "pulse.yaml").unlink()  # no more ticks, which are on a queue for a moment each
        except (AssertionError, ExceptionGroup) as error:
            causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
            told = "\n".join(f"{type(cause).__name__}: {cause}" for cause in causes)
            raise AssertionError(f"seed {seed}: {told}\n{cluster.told}") from error
        for line in injury.told:
            found.add("EXIT", line)
        _check_exits(watch, steps, found)
        await _check_servers(site, private, found)
        _tell(storm, tools, watch, healed, rested)
        assert not found.report, f"seed {seed}: {found.report}\n{cluster.told}"
        _enough_happened(storm, tools)


async def _rage(
    storm: Storm,
    injury: Injury,
    steps: Sequence[Step],
    chance: random.Random,
    requests: int,
    spread: float,
    gap_seconds: float,
) -> None:
    async with _clicking(storm), asyncio.TaskGroup() as tasks:
        storm.round(0, requests, spread, tasks, steady=True)
        for step in steps:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * gap_seconds)
            print(f"{time.strftime('%H:%M:%S')} {step}")
            await injury.inflict(step)


@contextlib.asynccontextmanager
async def _clicking(storm: Storm) -> AsyncIterator[None]:
    person = asyncio.create_task(storm.click_questions())
    try:
        yield
    finally:
        person.cancel()
        await asyncio.gather(person, return_exceptions=True)


def _check_exits(watch: Supervision, steps: Sequence[Step], found: Findings) -> None:
    """Nobody ends by itself but who was hit: a frozen process may find that it was declared dead."""
    hit = Counter(step.part for step in steps)
    ended = Counter(ended.role for ended in watch.ended)
    for role, count in ended.items():
        codes = [ended.code for ended in watch.ended if ended.role == role]
        found.expect(count <= hit[role], "EXIT", f"{role} has ended {count} times ({codes}), hit {hit[role]} times")


async def _check_servers(site: Site, private: PrivateServers, found: Findings) -> None:
    """Nothing unacknowledged or left in a queue, no dead letter, no transaction that stays open."""

    async def unsettled() -> str:
        queues = await private.rabbitmq.management.queues("/")
        full = {
            queue["name"]: (queue.get("messages_ready"), queue.get("messages_unacknowledged"))
            for queue in queues
            if queue.get("messages") or queue.get("messages_unacknowledged")
        }
        return str(full) if full else ""

    async def settled() -> bool:
        return not await unsettled()

    try:
        await wait_until(settled, "the queues are empty")
    except AssertionError:
        found.add("QUEUES", await unsettled())
    letters = await site.query("SELECT queue, topic, reason FROM dead_letters")
    found.expect(not letters, "DEAD LETTERS", letters[:3])
    held = await site.query(
        "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND xact_start < now() - interval '3 seconds' AND state <> 'idle'"
    )
    found.expect(not held, "TRANSACTIONS", held[:3])
    running = await site.query("SELECT run_id FROM runs WHERE status = 'running'")
    found.expect(not running, "UNFINISHED", running[:3])


def _tell(storm: Storm, tools: ToolServer, watch: Supervision, healed: float, rested: float) -> None:
    accepted = Counter(sent.kind for sent in storm.ledger if sent.accepted)
    ended = Counter(f"{ended.role}:{ended.code}" for ended in watch.ended)
    print(
        f"accepted {dict(accepted)} of {len(storm.ledger)}, {len(tools.calls)} tool calls; ended {dict(ended)}; "
        f"healthy after {healed:.1f} s, at rest after {rested:.1f} s"
    )


def _enough_happened(storm: Storm, tools: ToolServer) -> None:
    """A storm in which nothing was accepted would prove nothing."""
    accepted = sum(sent.accepted for sent in storm.ledger)
    assert accepted > len(storm.ledger) * 0.6, f"{accepted} of {len(storm.ledger)} accepted"
    assert len(tools.calls) > 5
