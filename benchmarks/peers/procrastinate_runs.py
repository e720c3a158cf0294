"""procrastinate: one process defers jobs, 100 in flight, a worker process works them off; their end is a row."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time

from benchmarks.peers.counting import Counter
from benchmarks.peers.rows import keep_in_flight, one_by_one, until
from benchmarks.rounds import arguments, report

ENDED = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
ONE_ENDED = "SELECT 1 FROM procrastinate_jobs WHERE id = $1 AND status = 'succeeded'"


async def measure(counter: Counter, work: str, url: str, count: int, in_flight: int) -> dict[str, float]:
    from benchmarks.peers.procrastinate_app import app, nothing  # configured by the environment

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        command = [sys.executable, "-m", "benchmarks.peers.procrastinate_app"]
        worker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert worker.stdout is not None
        assert await worker.stdout.readline(), "the procrastinate worker did not start"

        async def publish() -> int:
            number: int = await nothing.defer_async(text="hello")
            return number

        await keep_in_flight(publish, in_flight, in_flight, counter.total)
        await until(url, ENDED, in_flight)
        if work == "alone":
            found = {"seconds": statistics.median(await one_by_one(url, ONE_ENDED, publish, count))}
        else:
            began = time.perf_counter()
            await keep_in_flight(publish, count, in_flight, counter.total)
            found = {"rate": count / (await until(url, ENDED, in_flight + count) - began)}
        worker.kill()
        await worker.wait()
    return found


def main() -> None:
    given = arguments()
    os.environ["PROCRASTINATE_URL"] = url = str(given["database_url"])
    counter = Counter.made()
    report(
        **asyncio.run(measure(counter, str(given["work"]), url, int(str(given["count"])), int(str(given["in_flight"]))))
    )
    counter.close()


if __name__ == "__main__":
    main()
