"""Which agents an event is for: commands, mentions, direct messages, subscriptions; who called nobody (R25, R26)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callboard.clock import ManualClock
from callboard.ids import derive_id
from callboard.messaging.events import MAX_HOPS, Actor, Event, EventPriority
from callboard.orchestrator.router import Router, input_of
from callboard.state.finishing import StoredEvent
from callboard.state.routing import Routing
from callboard.state.runs import Lane
from tests.support.pool_house import catalog_of, definition

AGENTS = (
    definition("standup", slack={"commands": ["/standup"], "mentions": True}, description="Asks the team"),
    definition("helper", slack={"mentions": True, "channels": ["#help", "C99999"], "reply": "channel"}),
    definition("talk", "continuous", slack={"mentions": True, "on_busy": "reject"}, conversation="thread"),
    definition("listener", subscriptions=["ci.build.*", "run.failed.#", "slack.events.message.channel"]),
    definition("nightly", limits={"max_concurrency": 2, "max_attempts": 5, "timeout_seconds": 7}),
    definition("quiet"),
)
PERSON = Actor(kind="user", id="U1", team="T1", via="slack")


def event(topic: str, *, actor: Actor = PERSON, **parts: Any) -> Event:
    fields = {key: parts.pop(key) for key in ("hops", "priority", "conversation_id") if key in parts}
    return Event(
        event_id="e1",
        event_type="external",
        topic=topic,
        timestamp=ManualClock().now(),
        trace_id="t" * 32,
        actor=actor,
        payload=parts,
        **fields,
    )


def slack(kind: str, text: str = "hello", channel: str = "general", **parts: Any) -> Event:
    payload = {
        "text": text,
        "user": {"id": "U1", "name": "mia"},
        "team": "T1",
        "channel": {"id": "C1", "name": channel},
        "ts": "1.5",
        **parts,
    }
    return event(f"slack.events.{kind}", **payload)


def route(given: Event, default: str | None = None) -> Routing:
    return Router(catalog_of(*AGENTS, number=7), default).route(StoredEvent(seq=1, event=given))


def agents(given: Event, default: str | None = None) -> list[str]:
    return [run.agent for run in route(given, default).runs]


def test_a_slash_command_goes_to_its_owner() -> None:
    assert agents(slack("command.standup", command="/standup", ts=None)) == ["standup"]


def test_an_unknown_command_is_answered_with_what_there_is() -> None:
    routed = route(slack("command.lunch", command="/lunch"))
    (notice,) = routed.notices
    assert routed.expected
    assert "/lunch" in notice.text
    assert [name for name, _ in notice.items] == ["/standup", "helper", "standup", "talk"]
    assert ("/standup", "Asks the team") in notice.items
    assert (notice.target.channel, notice.target.mode) == ("C1", "ephemeral")


@pytest.mark.parametrize(
    ("text", "channel", "default", "wanted"),
    [
        ("<@U0BOT> helper, please", "general", None, ["helper"]),
        ("<@U0BOT> ask standup and then helper", "general", None, ["standup"]),
        ("<@U0BOT> HELPER!", "general", None, ["helper"]),
        ("<@U0BOT> hello", "help", None, ["helper"]),
        ("<@U0BOT> standup", "help", None, ["standup"]),
        ("<@U0BOT> hello", "general", "quiet", ["quiet"]),
        ("<@U0BOT> quiet", "general", None, []),
        ("<@U0BOT> standups", "general", None, []),
        ("<@U0BOT> hello", "general", "gone", []),
    ],
)
def test_a_mention_goes_to_the_agent_named_first_else_the_channel_s_else_the_default(
    text: str, channel: str, default: str | None, wanted: list[str]
) -> None:
    assert agents(slack("mention", text, channel), default) == wanted


def test_a_channel_may_be_named_by_its_id() -> None:
    renamed = slack("mention")
    renamed.payload["channel"] = {"id": "C99999", "name": "renamed"}
    assert agents(renamed) == ["helper"]


def test_a_mention_of_nobody_says_whom_there_is() -> None:
    routed = route(slack("mention", "<@U0BOT> what can you do?"))
    assert routed.runs == ()
    assert "No agent is named" in routed.notices[0].text
    assert routed.notices[0].target.thread_ts == "1.5"


def test_an_empty_catalog_says_how_to_begin() -> None:
    routed = Router(catalog_of()).route(StoredEvent(seq=1, event=slack("mention")))
    assert "config/agents" in routed.notices[0].text


def test_a_direct_message_is_a_mention() -> None:
    assert agents(slack("message.im", "helper please")) == ["helper"]
    assert agents(slack("message.im", "hello"), "quiet") == ["quiet"]
    assert len(route(slack("message.im", "hello")).notices) == 1


def test_a_message_in_a_channel_goes_to_subscribers_and_is_no_call() -> None:
    assert agents(slack("message.channel", "helper please")) == ["listener"]
    assert agents(slack("message.channel", "helper please", mentions_bot=True)) == ["helper", "listener"]
    assert route(slack("message.group", "hello")) == Routing()


def test_subscriptions_match_by_pattern_and_an_agent_runs_once() -> None:
    assert agents(event("ci.build.finished")) == ["listener"]
    assert agents(event("ci.build.a.b")) == []
    assert agents(event("run.failed.standup", actor=Actor(kind="agent", id="standup"))) == ["listener"]


def test_an_addressed_event_goes_to_its_agent_alone() -> None:
    assert agents(event("api.invoke.quiet", input="x")) == ["quiet"]
    routed = route(event("api.invoke.nobody", input="x"))
    assert (routed.runs, routed.notices, routed.expected) == ((), (), True)


@pytest.mark.parametrize("payload", [{"command": "/standup"}, {"mentions_bot": True, "text": "helper"}])
def test_I15_a_payload_of_another_system_calls_nobody(payload: dict[str, Any]) -> None:
    assert route(event("ci.deploy.done", **payload)) == Routing()


def test_an_agent_never_hears_of_itself() -> None:
    itself = Actor(kind="agent", id="listener")
    assert agents(event("run.failed.listener", actor=itself)) == []
    assert agents(event("run.failed.listener", actor=Actor(kind="user", id="listener"))) == ["listener"]


def test_A9_agents_that_answer_each_other_stop_after_twenty_hops() -> None:
    assert agents(event("ci.build.x", hops=MAX_HOPS)) == ["listener"]
    assert agents(event("ci.build.x", hops=MAX_HOPS + 1)) == []


def test_a_run_is_drafted_from_the_event_and_the_definition() -> None:
    (run,) = route(event("api.invoke.nightly", input={"a": 1}, conversation_id="c", hops=3)).runs
    assert run.run_id == derive_id("run", "e1", "nightly")
    assert (run.event_id, run.trace_id, run.catalog, run.agent_version) == ("e1", "t" * 32, 7, 1)
    assert (run.max_attempts, run.timeout_seconds, run.hops) == (5, 7.0, 3)
    assert (run.input, run.conversation_id, run.actor, run.reply_to) == ({"a": 1}, "c", PERSON, None)
    assert (run.admission.place_key, run.admission.places) == ("agent:nightly", 2)


@pytest.mark.parametrize(
    ("topic", "priority", "lane", "rank"),
    [
        ("api.invoke.quiet", EventPriority.NORMAL, Lane.INTERACTIVE, 2),
        ("api.invoke.quiet", EventPriority.CRITICAL, Lane.INTERACTIVE, 0),
        ("api.invoke.quiet", EventPriority.LOW, Lane.BATCH, 3),
        ("scheduled.tasks.quiet", EventPriority.NORMAL, Lane.BATCH, 3),
        ("scheduled.tasks.quiet", EventPriority.HIGH, Lane.INTERACTIVE, 1),
    ],
)
def test_people_come_first_and_schedules_are_batch(topic: str, priority: EventPriority, lane: Lane, rank: int) -> None:
    (run,) = route(event(topic, priority=priority)).runs
    assert (run.admission.lane, run.admission.rank) == (lane, rank)
    assert run.admission.place_key is None


def test_turns_belong_to_threads_and_conversations() -> None:
    (helper,) = route(slack("mention", "helper", thread_ts="1.0")).runs
    assert helper.admission.order_key == "helper/thread:T1:C1:1.0"
    (talk,) = route(slack("mention", "talk")).runs
    assert (talk.conversation_id, talk.admission.order_key) == ("T1:C1:1.5", "talk/T1:C1:1.5")
    assert talk.on_busy == "reject"
    (api,) = route(event("api.invoke.talk", input="x")).runs
    assert (api.conversation_id, api.admission.order_key) == ("agent", "talk/agent")
    (named,) = route(event("api.invoke.talk", input="x", conversation_id="mine")).runs
    assert named.admission.order_key == "talk/mine"
    (quiet,) = route(event("api.invoke.quiet", input="x")).runs
    assert quiet.admission.order_key is None


def test_a_memory_may_belong_to_the_agent_or_to_each_user() -> None:
    for conversation, wanted in (("agent", "agent"), ("user", "user:T1:U1")):
        talk = definition("talk", "continuous", slack={"mentions": True}, conversation=conversation)
        # Slack names the thread of each message, which is not for Slack to decide.
        named = replace(slack("mention", "talk"), conversation_id="slack:T1:C1:1.5")
        for said in (slack("mention", "talk"), named):
            (run,) = Router(catalog_of(talk)).route(StoredEvent(seq=1, event=said)).runs
            assert run.conversation_id == wanted


def test_answers_go_where_the_question_came_from() -> None:
    (threaded,) = route(slack("mention", "standup")).runs
    assert threaded.reply_to is not None
    assert (threaded.reply_to.channel, threaded.reply_to.thread_ts) == ("C1", "1.5")
    (loud,) = route(slack("mention", "helper")).runs
    assert loud.reply_to is not None
    assert (loud.reply_to.mode, loud.reply_to.thread_ts) == ("channel", None)
    (command,) = route(slack("command.standup", command="/standup", ts=None, response_url="https://x/y")).runs
    assert command.reply_to is not None
    assert command.reply_to.prefers_response_url
    assert command.reply_to.expires_at is not None
    (tick,) = route(event("scheduled.tasks.quiet", deliver_to="#eng")).runs
    assert tick.reply_to is not None
    assert (tick.reply_to.channel, tick.reply_to.mode) == ("#eng", "channel")
    (silent,) = route(event("scheduled.tasks.quiet")).runs
    assert silent.reply_to is None


def test_what_an_agent_works_on() -> None:
    assert input_of(event("a", input=None, text="t")) is None
    assert input_of(event("a", text="t", more=1)) == "t"
    assert input_of(event("a", build=7)) == {"build": 7}
