"""Slack's requests become events with the right topic, payload and keys (INTERFACE.md, section 6; R1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.errors import InvalidInputError
from callboard.integrations.slack_events import Challenge, Ignored, SlackEvent, parse_slack_event
from callboard.integrations.slack_local_workspace import BOT_USER, LocalMessage
from callboard.integrations.slack_requests import decode_request
from callboard.integrations.slack_wire import (
    Channel,
    Person,
    SlackRequest,
    button_click,
    event_callback,
    interaction,
    message_event,
    slash_command,
    url_verification,
    view_submission,
)
from callboard.messaging.events import EventType
from callboard.messaging.reply import ReplyTo

ANNA = Person()
GENERAL = Channel()
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MESSAGE = LocalMessage(channel="C1", ts="1.000001", thread_ts="1.000000", text="?", blocks=(), via="chat.postMessage")


def parse(request: SlackRequest, request_id: str = "v0=1") -> SlackEvent | Challenge | Ignored:
    return parse_slack_event(decode_request([request.content_type], request.body), request_id)


def event_of(request: SlackRequest, request_id: str = "v0=1") -> SlackEvent:
    parsed = parse(request, request_id)
    assert isinstance(parsed, SlackEvent)
    return parsed


def said(text: str, kind: str = "message", **options: Any) -> SlackRequest:
    given = {"ts": "1763.000100", "event_id": "Ev1", "person": ANNA, "channel": GENERAL, **options}
    return message_event(text, kind=kind, **given)


def typed(line: str, trigger_id: str = "t1") -> SlackRequest:
    url = "https://hooks.slack.com/commands/1"
    return slash_command(line, person=ANNA, channel=GENERAL, response_url=url, trigger_id=trigger_id)


def test_a_slash_command_is_an_event_of_its_name_with_the_text_behind_it() -> None:
    event = event_of(typed("/standup what is &lt;new&gt; &amp; old"))
    assert event.event_type is EventType.SLACK_COMMAND
    assert event.topic == "slack.events.command.standup"
    assert event.payload == {
        "text": "what is <new> & old",
        "user": {"id": "U0ANNA", "name": "anna"},
        "team": "T0LOCAL",
        "channel": {"id": "C0GENERAL", "name": "general"},
        "thread_ts": None,
        "ts": None,
        "command": "/standup",
        "response_url": "https://hooks.slack.com/commands/1",
        "trigger_id": "t1",
        "action": None,
        "view": None,
        "raw_type": "slash_command",
        "mentions_bot": False,
    }
    assert event.dedupe_keys == ("slack:trigger:t1",)


def test_a_command_without_trigger_is_met_again_by_its_signature() -> None:
    raw = decode_request(["application/x-www-form-urlencoded"], b"command=%2Fstandup&text=hi&user_id=U1")
    first, again, other = (parse_slack_event(raw, signature) for signature in ("v0=a", "v0=a", "v0=b"))
    assert isinstance(first, SlackEvent)
    assert isinstance(again, SlackEvent)
    assert isinstance(other, SlackEvent)
    assert first.dedupe_keys == again.dedupe_keys != other.dedupe_keys


@pytest.mark.parametrize("kind", ["channel", "group", "im", "mpim"])
def test_a_message_is_an_event_of_its_kind_of_channel(kind: str) -> None:
    event = event_of(said("hello", channel=Channel(type=kind)))
    assert event.topic == f"slack.events.message.{kind}"
    assert event.event_type is EventType.SLACK_MESSAGE
    assert event.dedupe_keys == ("slack:T0LOCAL:C0GENERAL:1763.000100", "slack:event:Ev1")
    assert event.conversation_id == "slack:T0LOCAL:C0GENERAL:1763.000100"


def test_a_reply_belongs_to_the_conversation_of_its_thread() -> None:
    event = event_of(said("hello", thread_ts="1700.000001"))
    assert event.conversation_id == "slack:T0LOCAL:C0GENERAL:1700.000001"
    assert event.payload["thread_ts"] == "1700.000001"


def test_a_message_and_the_mention_of_it_are_one_event_whichever_comes_first() -> None:
    text = f"<@{BOT_USER}> what is new?"
    message = event_of(said(text, event_id="Ev1"))
    mention = event_of(said(text, "app_mention", event_id="Ev2"))
    assert message.draft(NOW, TRACE).event.event_id == mention.draft(NOW, TRACE).event.event_id
    assert message.dedupe_keys[0] == mention.dedupe_keys[0]
    assert (message.topic, mention.topic) == ("slack.events.message.channel", "slack.events.mention")
    for event in (message, mention):
        assert event.payload["mentions_bot"] is True
        assert event.text == "what is new?"


def test_a_message_that_names_somebody_else_does_not_mention_the_bot() -> None:
    event = event_of(said("<@U0BERT> look"))
    assert event.payload["mentions_bot"] is False
    assert event.text == "<@U0BERT> look"


def test_a_click_is_an_event_of_its_action_and_knows_its_message() -> None:
    button = {"type": "button", "action_id": "approve.it", "block_id": "b", "value": "7"}
    url = "https://hooks.slack.com/actions/1"
    event = event_of(button_click(MESSAGE, button, person=ANNA, response_url=url, trigger_id="t9"))
    assert event.topic == "slack.events.action.approve_it"
    assert event.payload["action"] == {"action_id": "approve.it", "block_id": "b", "value": "7"}
    assert (event.payload["ts"], event.payload["thread_ts"]) == ("1.000001", "1.000000")
    assert event.dedupe_keys == ("slack:trigger:t9",)
    assert event.response_url == url


def test_every_button_of_our_own_questions_has_one_topic() -> None:
    for action_id in ("callboard.answer.0", "callboard.answer.17", "callboard.answer.open"):
        button = {"type": "button", "action_id": action_id, "value": "{}"}
        event = event_of(button_click(MESSAGE, button, person=ANNA, response_url="x", trigger_id="t"))
        assert event.topic == "slack.events.action.callboard_answer"


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ({"type": "static_select", "selected_option": {"value": "berlin"}}, "berlin"),
        ({"type": "multi_static_select", "selected_options": [{"value": "a"}, {"value": "b"}]}, "a,b"),
        ({"type": "users_select", "selected_user": "U7"}, "U7"),
        ({"type": "datepicker", "selected_date": "2026-11-21"}, "2026-11-21"),
        ({"type": "button"}, ""),
    ],
)
def test_what_was_chosen_is_the_actions_value_whatever_the_element(element: dict[str, Any], value: str) -> None:
    request = interaction(
        {"type": "block_actions", "trigger_id": "t", "actions": [{"action_id": "pick", **element}]}, person=ANNA
    )
    assert event_of(request).payload["action"]["value"] == value


def test_a_form_is_an_event_of_its_callback_with_its_fields() -> None:
    view = {"id": "V1", "hash": "1.a", "callback_id": "new_agent", "private_metadata": "x", "blocks": []}
    event = event_of(view_submission(view, {"b": {"a": "hello"}}, person=ANNA, trigger_id="t"))
    assert event.topic == "slack.events.view.new_agent"
    assert event.text == "hello"
    assert event.payload["view"] == {
        "id": "V1",
        "callback_id": "new_agent",
        "private_metadata": "x",
        "values": {"b": {"a": "hello"}},
    }


def test_a_form_sent_twice_is_one_event_and_a_corrected_one_another() -> None:
    view = {"id": "V1", "hash": "1.a", "callback_id": "c"}
    keys = [
        event_of(view_submission(view, {"b": {"a": text}}, person=ANNA, trigger_id="t")).dedupe_keys[0]
        for text in ("first", "first", "second")
    ]
    assert keys[0] == keys[1] != keys[2]


def test_slacks_challenge_is_recognised() -> None:
    assert parse(url_verification("3eZbrw1aB")) == Challenge(challenge="3eZbrw1aB")


@pytest.mark.parametrize(
    "extra",
    [
        {"bot_id": "B1"},
        {"subtype": "bot_message"},
        {"subtype": "message_changed"},
        {"subtype": "message_deleted"},
        {"subtype": "channel_join"},
        {"hidden": True},
        {"user": BOT_USER},
    ],
)
def test_A9_what_no_person_wrote_makes_no_event(extra: dict[str, Any]) -> None:
    for kind in ("message", "app_mention"):
        assert isinstance(parse(said("hello", kind, extra=extra)), Ignored)


@pytest.mark.parametrize("kind", ["reaction_added", "app_home_opened", "team_join", "", "x" * 5000])
def test_A9_events_that_are_not_used_make_no_event(kind: str) -> None:
    assert isinstance(parse(event_callback({"type": kind}, event_id="Ev1")), Ignored)


@pytest.mark.parametrize("kind", ["shortcut", "view_closed", "block_suggestion", "app_rate_limited"])
def test_A9_other_requests_make_no_event(kind: str) -> None:
    assert isinstance(parse_slack_event({"type": kind}, "v0=1"), Ignored)


def test_files_and_broadcasts_of_people_are_messages() -> None:
    for subtype in ("file_share", "thread_broadcast", "me_message"):
        assert event_of(said("look", extra={"subtype": subtype})).text == "look"


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"type": "url_verification"},
        {"type": "event_callback", "event": {"type": "message", "user": "U1", "text": "no channel"}},
        {"type": "event_callback", "event": {"type": "message", "user": "U1", "channel": "C1"}},
        {"type": "view_submission", "view": {}},
        {"type": "block_actions", "actions": [{"value": "no id"}]},
        {"command": ""},
        {"command": ["/list"]},
    ],
)
def test_a_request_without_its_necessary_parts_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        parse_slack_event(raw, "v0=1")


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "event_callback", "event": []},
        {"type": "event_callback", "event": None, "authorizations": "x"},
        {"type": "block_actions", "actions": {}},
        {"type": "block_actions", "actions": [1, None]},
        {"type": {"a": 1}, "command": "/x", "text": 5, "user_id": None},
    ],
)
def test_parts_of_the_wrong_kind_do_no_harm(raw: dict[str, Any]) -> None:
    assert isinstance(parse_slack_event(raw, "v0=1"), SlackEvent | Ignored)


def test_ids_of_any_length_and_nul_characters_fit_the_database() -> None:
    event = event_of(
        said("a\x00b", ts="1" * 5000, event_id="E" * 5000, thread_ts="2" * 5000, extra={"event_ts": "1.1"})
    )
    assert event.text == "ab"
    assert all(len(key) <= 300 for key in event.dedupe_keys)
    assert len(event.conversation_id or "") <= 200


def test_the_drafts_event_carries_who_when_and_which_trace() -> None:
    draft = event_of(typed("/standup hi")).draft(NOW, TRACE)
    assert (draft.event.trace_id, draft.event.timestamp) == (TRACE, NOW)
    assert (draft.event.actor.kind, draft.event.actor.id, draft.event.actor.via) == ("user", "U0ANNA", "slack")
    assert draft.event.event_id == event_of(typed("/standup hi")).draft(NOW, "0" * 31 + "1").event.event_id
    assert draft.event.event_id != event_of(typed("/standup hi", "t2")).draft(NOW, TRACE).event.event_id


def test_answers_go_to_the_thread_the_channel_or_the_person_that_asked() -> None:
    message = event_of(said("hi")).payload
    assert ReplyTo.from_slack(message, "thread", NOW).thread_ts == "1763.000100"
    assert ReplyTo.from_slack(message, "channel", NOW).thread_ts is None
    command = ReplyTo.from_slack(event_of(typed("/standup hi")).payload, "ephemeral", NOW)
    assert (command.user, command.channel, command.mode) == ("U0ANNA", "C0GENERAL", "ephemeral")
    assert command.prefers_response_url
    assert ReplyTo.from_record(command.to_record()) == command
