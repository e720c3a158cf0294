"""dramatiq draining a filled queue with 4 processes of 8 threads, its default number of threads."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.peers.counting import Counter
from benchmarks.rounds import arguments, report

PROCESSES = 4


def main() -> None:
    given = arguments()
    count = int(str(given["count"]))
    os.environ["DRAMATIQ_URL"] = str(given["rabbitmq_url"])
    os.environ["DRAMATIQ_QUEUE"] = f"{given['queue']}.{os.getpid()}"
    counter = Counter.made()
    from benchmarks.peers.dramatiq_app import QUEUE, broker, nothing  # configured by the environment

    for _ in range(count):
        nothing.send("hello")
    command = [sys.executable, "-m", "dramatiq", "benchmarks.peers.dramatiq_app", "--processes", str(PROCESSES)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        began = counter.wait(count // 10)
        took = counter.wait(count) - began
        worker.terminate()
    for queue in (QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
        broker.channel.queue_delete(queue)
    report(rate=(count - count // 10) / took)
    counter.close()


if __name__ == "__main__":
    main()
