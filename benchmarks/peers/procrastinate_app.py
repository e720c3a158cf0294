# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
"""The procrastinate worker: asyncio, 100 jobs at a time, woken by LISTEN/NOTIFY (its default), on psycopg's pool."""

from __future__ import annotations

import asyncio
import os

import procrastinate

from benchmarks.peers.counting import Counter

counter = Counter.inherited()
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["PROCRASTINATE_URL"], min_size=4, max_size=20)
)


@app.task(name="nothing", queue="benchmark")
async def nothing(text: str) -> str:
    counter.one_more()
    return text


async def work() -> None:
    async with app.open_async():
        print("ready", flush=True)
        await app.run_worker_async(queues=["benchmark"], concurrency=100)


if __name__ == "__main__":
    asyncio.run(work())
