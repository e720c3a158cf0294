"""I-5: each class of fault shows in metrics or health within half a minute; I-2: a record of latency.

Servers that are away are in `test_servers_away.py`, where each one's absence must show too.
"""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.distributed.house import House, house
from tests.support import storm as storms
from tests.support.distributed.nursery import Nursery
from tests.support.distributed.other_system import other_system
from tests.support.servers.process_tree import descendants, send
from tests.support.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(300)]

SEEN_SECONDS = 30.0
POOL = "autonomous-agent-pool"
LONG = """\
name: long
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{wait_seconds: 8, say: "{input}"}]}
"""


async def test_I5_each_class_of_fault_is_visible_within_30_seconds(
    tmp_path: Path, loaded: Nursery, subtests: pytest.Subtests
) -> None:
    async with house(tmp_path, loaded.spawn) as built:
        await built.add_agents(long=LONG, echo=storms.agents("")["echo"])
        with subtests.test("I2 latency from a command to its answer, recorded"):
            await _record_latency(built)
        with subtests.test("I5 poison on the inbox: dead letters"):
            await _poison(built)
        with subtests.test("I5 a process that is gone: lease losses"):
            await _lost_process(built)
        with subtests.test("I5 no pool at all: a backlog"):
            await _backlog(built)
        with subtests.test("I5 a frozen role: its health does not answer"):
            await _frozen(built)
        with subtests.test("I5 Celery's worker dies: its role ends and is started anew"):
            await _without_worker(built)


async def _record_latency(built: House) -> None:
    """Not asserted: the numbers of a shared machine say little. They are printed for whoever compares."""
    seconds: list[float] = []
    async with built.person() as anna:
        for number in range(30):
            began = time.perf_counter()
            sent = await anna.command(f"/echo {number}")
            await anna.answer_to(sent)
            seconds.append(time.perf_counter() - began)
    ranked = sorted(seconds)
    print(
        f"slash command to answer: median {statistics.median(ranked) * 1000:.0f} ms, "
        f"p95 {ranked[int(len(ranked) * 0.95)] * 1000:.0f} ms, worst {ranked[-1] * 1000:.0f} ms"
    )


async def _poison(built: House) -> None:
    async with other_system(built.private.rabbitmq.url) as crm:
        assert await crm.publish_raw("agent.input.echo", b"\xff not an event")
        await _metric(built, "api", "dead_letters", lambda value: value >= 1)
        assert await crm.publish("agent.input.echo", "crm-1", {"text": "after the poison"})

        async def answered() -> bool:
            rows = await built.site.query("SELECT status FROM runs WHERE agent = 'echo' ORDER BY seq DESC LIMIT 1")
            events = await built.site.query("SELECT 1 FROM events WHERE topic = 'agent.input.echo'")
            return bool(events) and rows[0]["status"] == "succeeded"

        await wait_until(answered, "what comes after the poison is worked on")


async def _lost_process(built: House) -> None:
    task = await built.invoke("long", "loses its process")

    async def running() -> bool:
        return str((await built.run(task))["status"]) == "running"

    await wait_until(running, "the run is under way")
    process = built.cluster.one(POOL)
    process.kill()
    await built.cluster.replace(process)
    await _metric(built, "state-manager", "lease_losses_total", lambda value: value >= 1)
    assert (await built.ended(task))["status"] == "succeeded"


async def _backlog(built: House) -> None:
    process = built.cluster.one(POOL)
    process.kill()
    tasks = [await built.invoke("echo", f"waits {number}") for number in range(3)]
    await _metric(built, "api", "runs_queued", lambda value: value >= 3)
    await built.cluster.replace(process)
    for task in tasks:
        assert (await built.ended(task))["status"] == "succeeded"
    await _metric(built, "api", "runs_queued", lambda value: value == 0)


async def _frozen(built: House) -> None:
    process = built.cluster.one("agent-orchestrator")
    process.freeze()
    try:
        assert (await process.health())[0] == 0
    finally:
        process.thaw()
    await built.cluster.healthy()


async def _without_worker(built: House) -> None:
    process = built.cluster.one("celery-worker")
    (worker, *_) = descendants(process.pid)
    send([worker], signal.SIGKILL)
    assert await process.exit_code() == 1
    await built.cluster.replace(process)
    await built.cluster.healthy()


async def _metric(built: House, role: str, name: str, wanted: Callable[[float], bool]) -> None:
    async def shown() -> bool:
        families = text_string_to_metric_families(await built.cluster.one(role).metrics())
        values = [sample.value for family in families for sample in family.samples if sample.name == name]
        await let_pass(0.2, "between two looks, as a monitor looks")
        return bool(values) and wanted(sum(values))

    await wait_until(shown, f"{name} of {role}", within=SEEN_SECONDS)
