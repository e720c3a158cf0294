# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
"""The DBOS worker: a queue, and a workflow of one step that does nothing."""

from __future__ import annotations

import os
import threading

from dbos import DBOS, DBOSConfig

from benchmarks.peers.counting import Counter

QUEUE = "benchmark"
VERSION = "1"


@DBOS.step()
async def nothing(text: str) -> str:
    return text


@DBOS.workflow()
async def run(text: str) -> str:
    output: str = await nothing(text)
    counter.one_more()
    return output


def configuration() -> DBOSConfig:
    """The pool is as large as the runs in flight need; the rest is as it comes."""
    return {
        "name": "benchmark",
        "system_database_url": os.environ["DBOS_URL"],
        "sys_db_pool_size": 20,
        "application_version": VERSION,
        "console_log_level": "ERROR",
        "log_level": "ERROR",
    }


def launch(polling_seconds: float) -> None:
    DBOS(config=configuration())
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=polling_seconds)


counter = Counter.inherited()

if __name__ == "__main__":
    launch(float(os.environ["DBOS_POLLING"]))
    print("ready", flush=True)
    threading.Event().wait()
