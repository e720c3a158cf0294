# mypy: disable-error-code="untyped-decorator, misc"
"""A Celery application with a task that does nothing; `CELERY_SAFE` chooses what its guide says for losing nothing.

Defaults: prefork, JSON, acknowledged before the task runs, prefetch 4 a process, no result backend.
Safe: `task_acks_late`, `task_reject_on_worker_lost`, `worker_prefetch_multiplier=1`, `confirm_publish`.
"""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.peers.counting import Counter

SAFE = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "broker_transport_options": {"confirm_publish": True},
}

app = Celery("benchmark", broker=os.environ["CELERY_URL"])
app.conf.task_default_queue = os.environ["CELERY_QUEUE"]
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False
if os.environ.get("CELERY_SAFE"):
    app.conf.update(SAFE)
counters: list[Counter] = []


@app.task(name="nothing")
def nothing(text: str) -> None:
    """The task; it only lets itself be counted."""
    if not counters:
        counters.append(Counter.inherited())
    counters[0].one_more()
