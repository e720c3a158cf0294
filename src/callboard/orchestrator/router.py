"""Which agents an event is for: a pure decision over one catalog."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import Any

from callboard.config.catalog import Catalog, CatalogEntry
from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.events import MAX_HOPS, Event, EventType
from callboard.messaging.reply import ReplyTo
from callboard.messaging.routing import matches
from callboard.orchestrator.admission import admit, conversation_of
from callboard.orchestrator.reply_target import reply_target
from callboard.state.finishing import StoredEvent
from callboard.state.routing import Notice, Routing
from callboard.state.runs import RunDraft

KNOWN_TOPICS = 10_000
DIRECT = f"{topology.SLACK_MESSAGE}.im"
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Router:
    """The routing tables of one catalog, built once; `route` is a pure function of the event."""

    def __init__(self, catalog: Catalog, default_agent: str | None = None) -> None:
        self._catalog = catalog
        self._default_agent = default_agent
        self._commands: dict[str, CatalogEntry] = {}
        self._exact: dict[str, list[CatalogEntry]] = defaultdict(list)
        self._patterns: list[tuple[str, CatalogEntry]] = []
        self._mentioned = [entry for entry in catalog if entry.definition.slack.mentions]
        self._subscribers: dict[str, tuple[CatalogEntry, ...]] = {}
        for entry in catalog:
            self._index(entry)

    def route(self, stored: StoredEvent) -> Routing:
        """One run for each agent that the event is for; a sentence for the person who called nobody."""
        event = stored.event
        if event.hops > MAX_HOPS or _of_dry_run(event):
            return Routing(expected=True)
        entries = {entry.name: entry for entry in self._targets(event) if not _own(event, entry)}
        expected = self._is_call(event)
        if entries or not expected:
            return Routing(runs=tuple(self._draft(event, entry) for entry in entries.values()), expected=expected)
        target = reply_target(event, "ephemeral" if event.payload.get("command") else "thread")
        notices = () if target is None else (self._nobody(event, target),)
        return Routing(notices=notices, expected=True)

    def _index(self, entry: CatalogEntry) -> None:
        for command in entry.definition.slack.commands:
            self._commands.setdefault(command, entry)
        for pattern in entry.definition.subscriptions:
            if "*" in pattern or "#" in pattern:
                self._patterns.append((pattern, entry))
            else:
                self._exact[pattern].append(entry)

    def _targets(self, event: Event) -> list[CatalogEntry]:
        named = topology.addressee(event.topic)
        if named is not None:
            entry = self._catalog.get(named)
            return [entry] if entry is not None else []
        return [*self._called(event), *self._subscribed(event.topic)]

    def _called(self, event: Event) -> list[CatalogEntry]:
        """Whom a slash command or a mention is for (DESIGN.md, R25); no other system's payload calls anybody."""
        if not event.topic.startswith("slack."):
            return []
        command = event.payload.get("command")
        if isinstance(command, str):
            owner = self._commands.get(command)
            return [owner] if owner is not None else []
        if self._is_mention(event):
            entry = self._mention_owner(event.payload)
            return [entry] if entry is not None else []
        return []

    def _mention_owner(self, payload: dict[str, Any]) -> CatalogEntry | None:
        """The agent named first in the text, else the channel's agent, else the default one."""
        by_name = {entry.name: entry for entry in self._mentioned}
        for word in _WORD.findall(str(payload.get("text", "")).lower()):
            if word in by_name:
                return by_name[word]
        channel = payload.get("channel")
        names = {f"#{channel.get('name')}", channel.get("id")} if isinstance(channel, dict) else set()
        for entry in self._mentioned:
            if names.intersection(entry.definition.slack.channels):
                return entry
        return self._catalog.get(self._default_agent) if self._default_agent else None

    def _subscribed(self, topic: str) -> tuple[CatalogEntry, ...]:
        found = self._subscribers.get(topic)
        if found is None:
            if len(self._subscribers) >= KNOWN_TOPICS:
                self._subscribers.clear()
            wild = [entry for pattern, entry in self._patterns if matches(pattern, topic)]
            found = tuple(self._exact.get(topic, [])) + tuple(wild)
            self._subscribers[topic] = found
        return found

    def _is_mention(self, event: Event) -> bool:
        return event.topic in (topology.SLACK_MENTION, DIRECT) or bool(event.payload.get("mentions_bot"))

    def _is_call(self, event: Event) -> bool:
        """Whether somebody or something meant to start an agent, so that silence would be wrong."""
        if event.topic.startswith(topology.SLACK_COMMAND) or topology.addressee(event.topic) is not None:
            return True
        return event.topic.startswith("slack.") and self._is_mention(event)

    def _nobody(self, event: Event, target: ReplyTo) -> Notice:
        """Says what exists: every command and every agent that can be mentioned."""
        commands = tuple(
            (command, self._commands[command].definition.description) for command in sorted(self._commands)
        )
        agents = tuple((entry.name, entry.definition.description) for entry in self._mentioned)
        called = event.payload.get("command")
        text = f"No agent answers to {called}." if called else "No agent is named in your message."
        if not commands and not agents:
            return Notice(target=target, text=f"{text} There are none yet: add a file to config/agents.")
        return Notice(target=target, text=text, title="What there is", items=(*commands, *agents))

    def _draft(self, event: Event, entry: CatalogEntry) -> RunDraft:
        definition = entry.definition
        conversation_id = conversation_of(event, definition)
        admission, dry = admit(event, definition, conversation_id), _is_dry(event)
        return RunDraft(
            run_id=derive_id("run", event.event_id, entry.name),
            event_id=event.event_id,
            trace_id=event.trace_id,
            tenant=event.tenant,
            agent=entry.name,
            agent_version=entry.version,
            catalog=self._catalog.number,
            mode=definition.mode.value,
            # It neither waits for a conversation nor keeps one waiting: it leaves nothing in it.
            admission=replace(admission, order_key=None) if dry else admission,
            max_attempts=definition.limits.max_attempts,
            timeout_seconds=definition.limits.timeout_seconds,
            actor=event.actor,
            input=input_of(event),
            hops=event.hops,
            conversation_id=conversation_id,
            reply_to=None if dry else reply_target(event, definition.slack.reply.value),
            on_busy=definition.slack.on_busy.value,
            origin_run_id=_origin(event),
            dry=dry,
        )


def input_of(event: Event) -> Any:
    """What the agent is to work on: the caller's input or text, else everything the event says."""
    for name in ("input", "text"):
        if name in event.payload:
            return event.payload[name]
    return event.payload


def _origin(event: Event) -> str | None:
    """The run that this one is another try of, for people to find; nothing is taken from it by this name."""
    origin = event.payload.get("origin_run_id")
    return origin if isinstance(origin, str) and _RUN_ID.fullmatch(origin) else None


def _is_dry(event: Event) -> bool:
    """Whether it was asked for without effects."""
    return event.topic.startswith(topology.API_INVOKE) and event.payload.get("dry") is True


def _of_dry_run(event: Event) -> bool:
    """What nobody's work begins with: it would have effects."""
    return event.event_type == EventType.RUN_STATUS and event.payload.get("dry") is True


def _own(event: Event, entry: CatalogEntry) -> bool:
    """An agent never hears of its own runs: it would answer itself until the hops run out."""
    return event.actor.kind == "agent" and event.actor.id == entry.name
