# mypy: disable-error-code="import-not-found, import-untyped"
"""DBOS: a client enqueues workflows, a worker process runs them; or, `direct`, one process starts and runs them.

The queue is read every `polling_seconds` (1 by default, as DBOS has it). Enqueuing is `DBOSClient.enqueue_async` with a
pool of 20 connections. `direct` is `DBOS.start_workflow_async` without a queue: no second process, nothing handed over.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.peers.counting import Counter
from benchmarks.peers.rows import keep_in_flight, one_by_one, until
from benchmarks.rounds import arguments, report

ENDED = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
ONE_ENDED = "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = $1 AND status = 'SUCCESS'"


async def queued(counter: Counter, work: str, url: str, count: int, in_flight: int) -> dict[str, float]:
    from dbos import DBOSClient  # configured by the environment

    client = DBOSClient(system_database_url=url, system_database_pool_size=20)
    options: Any = {"queue_name": "benchmark", "workflow_name": "run", "app_version": "1"}

    async def publish() -> str:
        handle: Any = await client.enqueue_async(options, "hello")
        return str(handle.workflow_id)

    await keep_in_flight(publish, in_flight, in_flight, counter.total)
    before = in_flight
    await until(url, ENDED, before)
    if work == "alone":
        return {"seconds": statistics.median(await one_by_one(url, ONE_ENDED, publish, count))}
    began = time.perf_counter()
    await keep_in_flight(publish, count, in_flight, counter.total)
    return {"rate": count / (await until(url, ENDED, before + count) - began)}


async def direct(work: str, count: int, in_flight: int) -> dict[str, float]:
    from dbos import DBOS  # configured by the environment

    from benchmarks.peers import dbos_app

    async def one() -> float:
        began = time.perf_counter()
        handle = await DBOS.start_workflow_async(dbos_app.run, "hello")
        await handle.get_result()
        return time.perf_counter() - began

    async def client(share: int) -> None:
        for _ in range(share):
            await one()

    await asyncio.gather(*(client(2) for _ in range(in_flight)))
    if work == "alone":
        return {"seconds": statistics.median([await one() for _ in range(count)])}
    began = time.perf_counter()
    await asyncio.gather(*(client(count // in_flight) for _ in range(in_flight)))
    return {"rate": count / (time.perf_counter() - began)}


def main() -> None:
    given = arguments()
    url, count, in_flight = str(given["database_url"]), int(str(given["count"])), int(str(given.get("in_flight", 1)))
    os.environ["DBOS_URL"] = url
    os.environ["DBOS_POLLING"] = str(given.get("polling_seconds", 1.0))
    counter = Counter.made()
    if given.get("direct"):
        from benchmarks.peers import dbos_app

        dbos_app.launch(1.0)
        report(**asyncio.run(direct(str(given["work"]), count, in_flight)))
    else:
        worker = subprocess.Popen([sys.executable, "-m", "benchmarks.peers.dbos_app"], stdout=subprocess.PIPE)
        assert worker.stdout is not None
        assert worker.stdout.readline(), "the DBOS worker did not start"
        report(**asyncio.run(queued(counter, str(given["work"]), url, count, in_flight)))
        worker.kill()
    counter.close()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
