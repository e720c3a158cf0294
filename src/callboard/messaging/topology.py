"""Every name on the bus, as data: exchanges, queues, topics. No other file spells one."""

from __future__ import annotations

EXCHANGE = "callboard.events"
INBOX = "orchestrator.inbox"
DEAD = "callboard.dead"
TICKS = "scheduler.ticks"
"""The one queue of Celery's: hints that a schedule is due, and maintenance. What is lost of it is found by looking."""

FOREIGN = "callboard.foreign"
"""Sorts what other systems publish from what we do, by the header of origin."""
OURS = "callboard.ours"
"""Where our own events end, seen from the sorting exchange: nothing is bound to it."""
TO_INBOX = "callboard.to-inbox"
"""Takes what the sorting exchange has no route for, which is every event of another system."""

HEADER_ORIGIN = "callboard-origin"
HEADER_PROCESS = "callboard-process"
HEADER_DELIVERIES = "callboard-deliveries"
"""How often a message was delivered before it came by this way."""
HEADER_DEDUPE_KEYS = "callboard-dedupe-keys"
HEADER_REASON = "callboard-reason"
HEADER_QUEUE = "callboard-queue"
HEADER_TOPIC = "callboard-topic"
HEADER_LETTER = "callboard-letter"
ORIGIN = "callboard"

INBOX_RETRY_SECONDS = (1.0, 5.0, 30.0)
"""How long a delivery that failed waits before it comes again; the last step repeats."""
MAX_DELIVERIES = 5

SLACK_COMMAND = "slack.events.command"
SLACK_MESSAGE = "slack.events.message"
SLACK_MENTION = "slack.events.mention"
SLACK_ACTION = "slack.events.action"
SLACK_VIEW = "slack.events.view"
SCHEDULED = "scheduled.tasks"
API_INVOKE = "api.invoke"
AGENT_INPUT = "agent.input"
AGENT_OUTPUT = "agent.output"
ADDRESSED = (API_INVOKE, SCHEDULED, AGENT_INPUT)
"""Topics whose last part names the one agent that the event is for."""

ALL_RUNS = "run.#"
ALL_CLARIFICATIONS = "clarification.#"
ALL_CONFIG = "config.#"
ALL_AGENT_STATUSES = "agent.status.#"
EVERYTHING = "#"


DELIVERY_PLANNED = "delivery.planned"
"""Wakes the responder: there is a message to send. Never stored."""


def retry_queue(queue: str, seconds: float) -> str:
    """Where a failed delivery of the queue waits that long."""
    return f"{queue}.retry.{seconds:g}s"


def wake_queue(process_id: str) -> str:
    """What tells one process that there may be work."""
    return f"callboard.wake.{process_id}"


def run_requested(mode: str, lane: str) -> str:
    """Wakes the pools of a mode: there is work to claim."""
    return f"run.requested.{mode}.{lane}"


def run_status(status: str, agent: str) -> str:
    return f"run.{status}.{agent}"


def run_progress(run_id: str) -> str:
    """Wakes those who watch runs: this one has something new to show. Never stored."""
    return f"run.progress.{run_id}"


def run_cancel(process_id: str) -> str:
    """Wakes the process that executes a run somebody wants stopped."""
    return f"run.cancel.{process_id}"


def agent_status(agent: str) -> str:
    return f"agent.status.{agent}"


def agent_input(agent: str) -> str:
    return f"{AGENT_INPUT}.{agent}"


def agent_output(agent: str) -> str:
    return f"{AGENT_OUTPUT}.{agent}"


def api_invoke(agent: str) -> str:
    return f"{API_INVOKE}.{agent}"


def scheduled(agent: str) -> str:
    return f"{SCHEDULED}.{agent}"


def collaboration_completed(run_id: str) -> str:
    return f"collaboration.completed.{run_id}"


def clarification(status: str) -> str:
    return f"clarification.{status}"


def addressee(topic: str) -> str | None:
    """The agent that an addressed topic names, None for every other topic."""
    for prefix in ADDRESSED:
        if topic.startswith(prefix + "."):
            return topic[len(prefix) + 1 :]
    return None
