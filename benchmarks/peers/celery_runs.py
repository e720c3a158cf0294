"""Celery with 4 prefork processes: draining a filled queue, whole tasks with so many in flight, and its memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.peers.counting import Counter
from benchmarks.process_tree import proportional_bytes
from benchmarks.rounds import arguments, report

if TYPE_CHECKING:
    from celery import Celery

PROCESSES = 4
PUBLISHERS = 4
"""Threads that publish; with 1, 2 and 10 of them fewer tasks a second are done."""


def main() -> None:
    given = arguments()
    os.environ["CELERY_URL"] = str(given["rabbitmq_url"])
    os.environ["CELERY_QUEUE"] = f"{given['queue']}.{os.getpid()}"
    if given.get("safe"):
        os.environ["CELERY_SAFE"] = "1"
    counter = Counter.made()
    from benchmarks.peers.celery_app import app, nothing  # configured by the environment

    report(**{"drain": drain, "whole": whole, "memory": memory}[str(given["work"])](app, nothing, counter, **given))
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(os.environ["CELERY_QUEUE"])
    counter.close()


def drain(app: Celery, task: Any, counter: Counter, *, count: int, **_: Any) -> dict[str, float]:
    """Tasks a second from the tenth part to the last, of a queue that was full before the worker started."""
    publish(task, count)
    with worker():
        began = counter.wait(count // 10)
        took = counter.wait(count) - began
    return {"rate": (count - count // 10) / took}


def whole(app: Celery, task: Any, counter: Counter, *, count: int, in_flight: int, **_: Any) -> dict[str, float]:
    """Tasks a second from the first publish to the last one done, `in_flight` of them published and not yet done."""
    with worker():
        publish(task, in_flight * 2)
        counter.wait(in_flight * 2)
        began = time.perf_counter()
        publish(task, count, counter, in_flight)
        took = counter.wait(in_flight * 2 + count) - began
    return {"rate": count / took}


def memory(app: Celery, task: Any, counter: Counter, *, count: int, **_: Any) -> dict[str, float]:
    """Proportional set size of the worker and its processes, all of which have worked."""
    with worker() as pid:
        publish(task, count)
        counter.wait(count)
        time.sleep(1)
        return {"bytes": proportional_bytes(pid)}


def publish(task: Any, count: int, counter: Counter | None = None, in_flight: int = 0) -> None:
    published = 0
    before = counter.total() if counter else 0
    lock = threading.Lock()

    def publisher() -> None:
        nonlocal published
        while True:
            with lock:
                if published == count:
                    return
                published += 1
                number = published
            while counter is not None and number - (counter.total() - before) > in_flight:
                time.sleep(0.0005)
            task.delay("hello")

    threads = [threading.Thread(target=publisher) for _ in range(PUBLISHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def worker() -> Iterator[int]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_app", "worker"]
    process = subprocess.Popen(
        [*command, "-c", str(PROCESSES), "--loglevel", "ERROR"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    main()
