"""The reference page of the bus, made from the topology as it is declared."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from callboard.messaging import topology
from callboard.messaging.events import Event
from callboard.scheduler.celery_config import make_app
from tests.docs.declared_topology import Declared

WAKE = "(one a process)"
"""The broker names it."""

HEAD = """\
# Events on the bus

Made from the program by `UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/docs/test_reference_pages.py`.

With RabbitMQ (`RABBITMQ_URL`) everything here is at the broker, for other systems too; in one process the same topics
are carried inside it. The broker carries events and wakes whoever has work. Backlogs are rows in the database, never
queues: a queue that is lost, doubled or empty changes when something is done, not what. It works alike on RabbitMQ
3.10 and 4.

An event is published persistent and confirmed, after the commit that made it; the row in the outbox goes when the
broker has confirmed, so each comes **at least once and in no order**: know repetitions by `event_id`.
"""

EXCHANGES = {
    topology.EXCHANGE: "Every public event, by its topic: ours and other systems'. Publish and subscribe here.",
    topology.FOREIGN: "Sorts by the header of origin, so that the inbox gets what others publish and nothing of ours.",
    topology.OURS: "Where our own events end, seen from the sorting exchange. Nothing is bound to it.",
    topology.TO_INBOX: "Takes what the sorting exchange has no route for: every event of another system.",
}
QUEUES = {
    topology.INBOX: (
        "other systems, by `callboard.events`; slack-gateway, directly, while the database is away",
        "agent-orchestrator: makes rows of them",
    ),
    topology.DEAD: (
        "whoever cannot take a message; the broker, after the last delivery",
        "event-bus: makes dead letters of them, `callboard deadletters`",
    ),
    topology.TICKS: ("scheduler-service (Celery Beat)", "celery-worker"),
    WAKE: ("whatever the process listens to", "that process; never more than a hint to look at the database"),
}
HEADERS = {
    "HEADER_ORIGIN": "`callboard` on everything that we publish. Other systems leave it out.",
    "HEADER_PROCESS": "The process that published it; its own messages do not wake it.",
    "HEADER_DEDUPE_KEYS": "On deposits in the inbox: the keys by which a repetition is known, a JSON list.",
    "HEADER_DELIVERIES": "How often a message was delivered before it was sent on.",
    "HEADER_TOPIC": "On a message that was sent on: the topic that it came by.",
    "HEADER_REASON": "On a dead letter: why nobody could take it.",
    "HEADER_QUEUE": "On a dead letter: the queue it was in.",
    "HEADER_LETTER": "On a dead letter: its id.",
}
TOPICS = (
    (
        "SLACK_COMMAND",
        "`{}.<name>`",
        "a slash command",
        "slack-gateway",
        "agents by `slack.commands` and subscriptions",
    ),
    ("SLACK_MESSAGE", "`{}.<im\\|channel\\|group\\|mpim>`", "a message", "slack-gateway", "agents by subscriptions"),
    ("SLACK_MENTION", "`{}`", "the app was mentioned", "slack-gateway", "agents by `slack.mentions`"),
    (
        "SLACK_ACTION",
        "`{}.<action_id>`",
        "a button that is no answer of ours",
        "slack-gateway",
        "agents by subscriptions",
    ),
    (
        "SLACK_VIEW",
        "`{}.<callback_id>`",
        "a form that is no answer of ours",
        "slack-gateway",
        "agents by subscriptions",
    ),
    ("scheduled", "`{}`", "a time of a schedule", "celery-worker", "the agent named"),
    ("api_invoke", "`{}`", "a call of the API, or of the command line", "api", "the agent named"),
    (
        "agent_input",
        "`{}`",
        "work for an agent by name: a step of a plan, or another system's wish",
        "pools, other systems",
        "the agent named",
    ),
    ("agent_output", "`{}`", "what a continuous agent gave out", "pools", "agents by subscriptions, other systems"),
    (
        "run_status",
        "`{}`",
        "a run ended: succeeded, failed, cancelled or timed_out",
        "whoever ended it",
        "agents by subscriptions, api (progress), other systems",
    ),
    ("collaboration_completed", "`{}`", "a plan is done", "collaborative-agent-pool", "other systems"),
    (
        "clarification",
        "`{}`",
        "a question is asked, answered, expired or cancelled",
        "pools, api, slack-gateway, state-manager",
        "slack-gateway (buttons), other systems",
    ),
    (
        "agent_status",
        "`{}`",
        "an agent is available, unavailable, restarting, failed or paused",
        "agent-orchestrator, api",
        "every role that uses agents, other systems",
    ),
    (
        "ALL_CONFIG",
        "`config.agent.<added\\|changed\\|removed\\|rejected>`",
        "a definition changed, or an edit was refused",
        "config-service, api (rollback)",
        "every role that uses definitions, other systems",
    ),
)
"""(name in topology, how it is shown, what happened, who publishes, who takes it)"""
SIGNALS = (
    ("run_requested", "a run can be claimed", "whoever queued it", "the pools of the mode"),
    ("run_progress", "a run has something new to show, such as a piece of an answer", "the pool", "the API's streams"),
    ("run_cancel", "a run that the process executes is to end", "whoever cancelled it", "that process"),
    ("DELIVERY_PLANNED", "a message to Slack is owed", "whoever planned it", "slack-gateway"),
)
FIELDS = {
    "event_id": "Its identity: equal ids are the same event.",
    "event_type": "The family, such as `slack.command`; `external` for what another system did not name.",
    "topic": "The routing key.",
    "timestamp": "When it happened, UTC.",
    "trace_id": "W3C trace id, 32 hexadecimal characters; the header `traceparent` has it too.",
    "actor": "Who caused it: `kind` (user, agent, schedule, api, system), `id`, `team`, `via`.",
    "payload": "What happened, a JSON object. Of an output at most 16,384 characters; the API has all of it.",
    "causation_id": "The event that led to this one.",
    "conversation_id": "The conversation that it belongs to.",
    "priority": "low, normal, high or critical; `low` goes to the batch lane.",
    "retry_count": "How often the bus has delivered it before.",
    "hops": "How many events it descends from; over 20 it is refused, which ends two agents that answer each other.",
    "schema_version": "1. An event of a later version is refused, so upgrade consumers first.",
    "tenant": "`default`.",
}
NO_TOPICS = {
    "EXCHANGE", "INBOX", "DEAD", "TICKS", "FOREIGN", "OURS", "TO_INBOX", "ORIGIN", "INBOX_RETRY_SECONDS",
    "MAX_DELIVERIES", "ADDRESSED", "ALL_RUNS", "ALL_CLARIFICATIONS", "ALL_AGENT_STATUSES", "EVERYTHING", "SCHEDULED",
    "API_INVOKE", "AGENT_INPUT", "AGENT_OUTPUT", "retry_queue", "wake_queue", "addressee",
}  # fmt: skip
"""Names of the topology that are exchanges, queues, patterns, or the first half of a topic that has a function."""

FOREIGN = """\
## Events of other systems

Publish JSON to `callboard.events` under a topic that an agent subscribes to, or under `agent.input.<agent>` to give
one agent work. Only `payload`, an object, must be there:

```text
{"payload": {"text": "stock of paper is low"}, "event_id": "stock-4711"}
```

- The routing key is the topic. `event_id` (or the message's `message_id`) makes a repetition known; the same id with
  another payload is refused. Without either, two of the same `timestamp` and contents count as one, and without a
  timestamp each is a new event.
- `traceparent` in the headers, or `trace_id` in the body, is kept through everything that follows.
- An event on a topic that nobody subscribes to is dropped. One for an agent that does not exist, one that is no such
  JSON, one over 1 MiB or packed becomes a dead letter at once, with the reason.
- Whoever may write to `callboard.events` may set agents to work. Events of topics that Callboard makes itself are taken
  from others all the same; the payload of `slack.…` is believed. Give other systems a user of their own, with the
  right to write by topic: `rabbitmqctl set_topic_permissions`.

To subscribe, bind a queue of your own to `callboard.events`.
"""


def events_page(quorum: Declared, classic: Declared) -> str:
    _check_that_nothing_is_left_out(quorum)
    return "\n".join(
        [
            HEAD,
            _diagram(quorum),
            *_exchanges(quorum),
            *_queues(quorum, classic),
            *_topics(),
            *_message(),
            FOREIGN,
        ]
    )


def _check_that_nothing_is_left_out(found: Declared) -> None:
    assert set(found.exchanges) == set(EXCHANGES)
    names = {
        name
        for name, value in vars(topology).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, str | int | tuple))
    }
    shown = {name for name, *_ in (*TOPICS, *SIGNALS)} | set(HEADERS)
    assert names == shown | NO_TOPICS, f"say what {sorted(names ^ (shown | NO_TOPICS))} is for"
    assert {each.name for each in dataclasses.fields(Event)} == set(FIELDS)


def _diagram(found: Declared) -> str:
    """Exchanges as rounded boxes, queues as cylinders."""
    lines = ["```mermaid", "flowchart LR", "  us([roles]) --> e0", "  others([other systems]) --> e0"]
    ids = {name: f"e{number}" for number, name in enumerate(found.exchanges)}
    lines += [f"  {ids[name]}({name})" for name in found.exchanges]
    for binding in found.bindings:
        target = ids.get(binding.target) or f"q[({binding.target})]"
        what = binding.key or ", ".join(f"{name}: {value}" for name, value in _asked(binding.arguments).items())
        lines.append(
            f'  {ids[binding.source]} -- "{what}" --> {target}' if what else f"  {ids[binding.source]} --> {target}"
        )
    for exchange in found.exchanges.values():
        for argument, other in exchange.arguments.items():
            lines.append(f'  {ids[exchange.name]} -- "{argument.replace("-", " ")}" --> {ids[other]}')
    lines += [
        "  e0 -- what it listens to --> w[(wake queue of a process)]",
        "  gateway([slack-gateway, database away]) --> q",
        "  q -- failed --> r[(retry steps)] -- after a pause --> q",
        "  q -- nobody can take it --> d[(callboard.dead)] --> rows[dead letters in the database]",
        "  q --> events[events in the database]",
        "```\n",
    ]
    return "\n".join(lines)


def _exchanges(found: Declared) -> list[str]:
    lines = [
        "## Exchanges\n",
        "All are durable.\n",
        "| exchange | type | arguments | bound to | for |",
        "|---|---|---|---|---|",
    ]
    for each in found.exchanges.values():
        bound = [
            f"`{binding.source}`"
            + (f" by `{binding.key}`" if binding.key else f" by {_shown(_asked(binding.arguments))}")
            for binding in found.bindings
            if binding.target == each.name
        ]
        kind = each.kind + (", internal" if each.internal else "")
        lines.append(
            f"| `{each.name}` | {kind} | {_shown(each.arguments)} | {', '.join(bound)} | {EXCHANGES[each.name]} |"
        )
    return [*lines, ""]


def _queues(quorum: Declared, classic: Declared) -> list[str]:
    lines = [
        "## Queues\n",
        "With `CALLBOARD_INBOX_QUEUE_TYPE=classic` the durable ones have only the arguments in the third column.\n",
        "| queue | arguments | classic | filled by | read by |",
        "|---|---|---|---|---|",
    ]
    (ticks,) = make_app("memory://").conf.task_queues
    steps = [name for name in quorum.queues if name.startswith(f"{topology.INBOX}.retry")]
    for name in (topology.INBOX, *steps, topology.DEAD, topology.TICKS, ""):
        title = name or WAKE
        arguments = ticks.queue_arguments if name == topology.TICKS else quorum.queues[name].arguments
        simple = "" if name in (topology.TICKS, "") else _shown(classic.queues[name].arguments)
        if name in steps:
            filled, read = "agent-orchestrator, what failed", "nobody: what is too old goes back to the inbox"
        else:
            filled, read = QUEUES[title]
        kind = "" if name else "exclusive, transient, "
        shown = f"`{name}`" if name else "one a process, named by the broker"
        lines.append(f"| {shown} | {kind}{_shown(arguments)} | {simple} | {filled} | {read} |")
    pauses = ", ".join(f"{seconds:g} s" for seconds in topology.INBOX_RETRY_SECONDS)
    return [
        *lines,
        "",
        (
            f"A delivery that fails waits {pauses} before it comes again; after {topology.MAX_DELIVERIES} deliveries "
            "it is a dead letter with its reason. While the database is away nothing is consumed and nothing counted.\n"
        ),
    ]


def _topics() -> list[str]:
    lines = ["## Topics\n", "| topic | what happened | published by | taken by |", "|---|---|---|---|"]
    lines += [f"| {shown.format(_topic(name))} | {what} | {by} | {to} |" for name, shown, what, by, to in TOPICS]
    lines += [
        "",
        (
            "Signals are on the same exchange, transient and without a body (`type` is `callboard.signal`): they wake, "
            "and whoever misses one finds the work within a second. Other systems leave them alone.\n"
        ),
        "| signal | it says | sent by | taken by |",
        "|---|---|---|---|",
    ]
    return [*lines, *(f"| `{_topic(name)}` | {what} | {by} | {to} |" for name, what, by, to in SIGNALS), ""]


def _message() -> list[str]:
    lines = [
        "## The message\n",
        (
            "The body is JSON, UTF-8; `content_type` is `application/json`, `message_id` the event id, `type` the "
            "event type, `delivery_mode` 2.\n"
        ),
        "| field | meaning |",
        "|---|---|",
        *(f"| `{each.name}` | {FIELDS[each.name]} |" for each in dataclasses.fields(Event)),
        "",
        "| header | meaning |",
        "|---|---|",
        "| `traceparent` | The W3C trace context. |",
    ]
    return [*lines, *(f"| `{getattr(topology, name)}` | {text} |" for name, text in HEADERS.items()), ""]


def _topic(name: str) -> str:
    """`run_status` → `run.<status>.<agent>`."""
    value = getattr(topology, name)
    if isinstance(value, str):
        return value
    made: str = value(*(f"<{parameter}>" for parameter in inspect.signature(value).parameters))
    return made


def _asked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if not name.startswith("x-")}


def _shown(arguments: Mapping[str, Any]) -> str:
    return _joined(f"`{name}` {value or '(the default exchange)'}" for name, value in arguments.items())


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)
