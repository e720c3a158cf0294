"""Celery as this project uses it: one queue of hints over RabbitMQ, no results, nothing that is not needed.

What Celery carries are hints alone (DESIGN.md, R29): whatever is lost is found by looking at the database, and
whatever comes twice meets the ledger. So its queue is bounded in length and age, and classic: with quorum as the
default type Celery declares 28 queues for delays that nobody here asks for.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.entity import Exchange, Queue

from callboard.messaging.topology import TICKS

EXECUTE = "execute_scheduled_agent"
EXECUTE_MANY = "execute_scheduled_agents"
RELEASE = "release_queued_occurrences"
RECONCILE = "reconcile_schedules"
RETENTION = "sweep_retention"
STATISTICS = "collect_statistics"

SOFT_LIMIT_SECONDS = 300
HARD_LIMIT_SECONDS = 330
LONGEST_QUEUE = 20_000
OLDEST_HINT_SECONDS = 300
"""A tick that nobody took for that long is worth nothing: the next look at the database finds what it was about."""
CONFIRM_SECONDS = 5.0
CONNECT_SECONDS = 4.0
HEARTBEAT_SECONDS = 10

_SETTINGS: dict[str, Any] = {
    "result_backend": None,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "timezone": "UTC",
    "enable_utc": True,
    # What a worker was at when it died comes again, to another one; RELIABILITY.md, finding 6.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "task_soft_time_limit": SOFT_LIMIT_SECONDS,
    "task_time_limit": HARD_LIMIT_SECONDS,
    "task_create_missing_queues": False,
    "task_default_queue": TICKS,
    "task_publish_retry": False,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_enable_prefetch_count_reduction": False,
    # A child opens a database and a broker connection of its own before it takes work.
    "worker_proc_alive_timeout": 30.0,
    "broker_connection_timeout": CONNECT_SECONDS,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    "broker_heartbeat": HEARTBEAT_SECONDS,
    "broker_transport_options": {"confirm_publish": True},
}


def make_app(broker_url: str) -> Celery:
    """The Celery application over that broker. It connects to nothing yet and has no tasks of ours."""
    # Whoever listens to this signal keeps Celery from setting up logging: the process has done that.
    setup_logging.connect(_leave_logging_alone)
    app = Celery("callboard", broker=broker_url, set_as_current=False, backend=None)
    app.conf.update(_SETTINGS)
    app.conf.task_queues = [
        Queue(  # type: ignore[no-untyped-call]
            TICKS,
            Exchange(""),  # type: ignore[no-untyped-call]
            routing_key=TICKS,
            durable=True,
            queue_arguments={
                "x-queue-type": "classic",
                "x-max-length": LONGEST_QUEUE,
                "x-message-ttl": OLDEST_HINT_SECONDS * 1000,
            },
        )
    ]
    return app


def _leave_logging_alone(**_: object) -> None:
    """The process's own JSON lines stay what they are."""
