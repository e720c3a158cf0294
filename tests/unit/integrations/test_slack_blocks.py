"""Messages that Slack takes and that do no harm, whatever a model wrote (RELIABILITY.md, B4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from callboard.integrations.slack_answers import AnswerGiven, FormWanted, form_metadata, read_answer
from callboard.integrations.slack_blocks import (
    Content,
    FailureContent,
    Message,
    NoticeContent,
    ResultContent,
    footer_id,
    render,
)
from callboard.integrations.slack_events import SlackEvent, parse_slack_event
from callboard.integrations.slack_local_limits import check_content
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_question_blocks import AnsweredContent, AnswerValue, QuestionContent
from callboard.integrations.slack_requests import decode_request
from callboard.integrations.slack_text import escape, harmless, shorten, split
from callboard.integrations.slack_wire import Person, button_click, view_submission
from callboard.state.clarifications import ClarificationKind

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DELIVERY = "d" * 32
HOSTILE = "<!channel> <!here> <@U123> <#C1|x> </x> <https://evil.example|click> & <mailto:a@b|b>"


def result(text: str) -> ResultContent:
    return ResultContent(agent="standup", run_id="r" * 32, trace_id=TRACE, text=text)


def question(kind: ClarificationKind, text: str = "Which city?", options: tuple[str, ...] = ()) -> QuestionContent:
    return QuestionContent(
        agent="standup",
        run_id="r" * 32,
        trace_id=TRACE,
        clarification_id="c" * 32,
        kind=kind,
        question=text,
        options=options,
    )


def rendered(content: Content, *, repeat: bool = False) -> Message:
    """The message, after Slack's own library and our local Slack have judged it."""
    message = render(content, delivery_id=DELIVERY, repeat=repeat)
    judge(message)
    return message


def judge(message: Message) -> None:
    assert 0 < len(message.text) <= 40_000
    assert 0 < len(message.blocks) <= 50
    for block in message.blocks:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()
        for element in getattr(parsed, "elements", None) or ():
            if hasattr(element, "validate_json"):
                element.validate_json()
    check_content({"text": message.text, "blocks": list(message.blocks)})


def words(message: Message) -> str:
    seen: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            seen.append(value)

    walk(message.blocks)
    return "\n".join([message.text, *seen])


def test_a_result_is_its_text_with_the_trace_in_the_footer() -> None:
    message = rendered(result("All green."))
    assert message.text == "All green."
    assert message.blocks[0]["text"]["text"] == "All green."
    assert message.blocks[-1]["type"] == "context"
    assert TRACE in message.blocks[-1]["elements"][0]["text"]
    assert message.blocks[-1]["block_id"] == footer_id(DELIVERY)


@pytest.mark.parametrize(
    "content",
    [
        result(HOSTILE),
        FailureContent(agent=HOSTILE, run_id="r", trace_id=TRACE, status="failed", code=HOSTILE, message=HOSTILE),
        question(ClarificationKind.CHOICE, HOSTILE, (HOSTILE, "b")),
        question(ClarificationKind.INPUT, HOSTILE),
        AnsweredContent(agent="a", trace_id=TRACE, question=HOSTILE, outcome=HOSTILE),
        NoticeContent(text=HOSTILE, trace_id=TRACE, title="<!channel>", items=((HOSTILE, HOSTILE),)),
    ],
    ids=lambda content: type(content).__name__,
)
def test_B4_nobody_is_pinged_and_no_link_is_hidden(content: Content) -> None:
    message = rendered(content)
    markup = [message.text]
    for block in message.blocks:
        for part in (block.get("text"), *block.get("elements", ())):
            if isinstance(part, dict) and part.get("type") == "mrkdwn":
                markup.append(part["text"])
                assert part["verbatim"] is True
    assert not any(sign in text for text in markup for sign in ("<", ">"))


def test_B4_control_characters_terminal_escapes_and_bidi_marks_are_gone() -> None:
    message = rendered(result("a\x00b\x1b[31mred\x1b[0m\x1b]0;title\x07c\u202ed\u2066e\x08\x7f\x9b\ud800f\tg\nh"))
    assert message.text == "abredcdef\tg\nh"


@pytest.mark.parametrize("length", [2999, 3000, 3001, 39_999, 40_000, 40_001, 500_000])
def test_B4_text_of_any_length_is_split_or_shortened_and_says_so(length: int) -> None:
    text = "word " * (length // 5) + "x" * (length % 5)
    message = rendered(result(text))
    sections = [block["text"]["text"] for block in message.blocks if block["type"] == "section"]
    if length <= 30_000:
        assert " ".join(sections).split() == text.split()
    if length > 40_000:
        assert "shortened" in sections[-1]
        assert "runs show " + "r" * 32 in sections[-1]


def test_B4_more_lines_than_blocks_still_make_one_message() -> None:
    rendered(
        NoticeContent(text="", trace_id=TRACE, title="t" * 151, items=tuple(("n" * 80, "d" * 900) for _ in range(99)))
    )


@pytest.mark.parametrize("count", [1, 2, 24, 25, 26, 50, 100, 101, 1000])
def test_B4_any_number_of_choices_is_buttons_or_a_form(count: int) -> None:
    options = tuple(f"option {number}" for number in range(count))
    message = rendered(question(ClarificationKind.CHOICE, options=options))
    buttons = [element for block in message.blocks if block["type"] == "actions" for element in block["elements"]]
    if count <= 100:
        assert [AnswerValue.from_text(button["value"]).answer for button in buttons] == list(options)  # type: ignore[union-attr]
    else:
        assert [button["action_id"] for button in buttons] == ["callboard.answer.open"]


def test_B4_a_choice_longer_than_a_button_is_shown_shortened_and_answered_whole() -> None:
    long = "y" * 76
    message = rendered(question(ClarificationKind.CHOICE, options=(long, "", "<b>")))
    buttons = message.blocks[1]["elements"]
    assert buttons[0]["text"]["text"] == "y" * 74 + "…"
    assert AnswerValue.from_text(buttons[0]["value"]).answer == long  # type: ignore[union-attr]


def test_B4_a_choice_too_long_for_a_buttons_value_is_answered_in_a_form() -> None:
    message = rendered(question(ClarificationKind.CHOICE, options=("a", "z" * 2001)))
    assert message.blocks[1]["elements"][0]["action_id"] == "callboard.answer.open"


@pytest.mark.parametrize(
    ("kind", "labels", "answers"),
    [
        (ClarificationKind.CONFIRMATION, ["Yes", "No"], [True, False]),
        (ClarificationKind.ACTION, ["Done", "Not done"], [{"done": True}, {"done": False}]),
        (ClarificationKind.INPUT, ["Answer…"], [None]),
    ],
)
def test_each_kind_of_question_has_its_buttons(kind: ClarificationKind, labels: list[str], answers: list[Any]) -> None:
    buttons = rendered(question(kind)).blocks[1]["elements"]
    assert [button["text"]["text"] for button in buttons] == labels
    assert [AnswerValue.from_text(button["value"]).answer for button in buttons] == answers  # type: ignore[union-attr]


def test_an_empty_result_says_so() -> None:
    for text in ("", " \n ", "\x00"):
        assert "without an answer" in rendered(result(text)).text


def test_a_message_that_may_be_a_repeat_says_so() -> None:
    assert "repeat" in words(rendered(result("hi"), repeat=True))
    assert "repeat" not in words(rendered(result("hi")))


def test_a_failure_names_agent_reason_and_code() -> None:
    content = FailureContent(
        agent="standup", run_id="r", trace_id=TRACE, status="timed_out", code="timeout", message="over 300 s"
    )
    assert rendered(content).text == ":warning: *standup* ran out of time (`timeout`): over 300 s"


@settings(max_examples=60)
@given(st.text(max_size=9000), st.lists(st.text(max_size=120), max_size=30))
def test_B4_whatever_a_model_writes_slack_takes_it(text: str, options: list[str]) -> None:
    rendered(result(text * 3))
    rendered(question(ClarificationKind.CHOICE, text, tuple(options)), repeat=True)
    rendered(NoticeContent(text=text, trace_id=TRACE, title=text, items=tuple((option, text) for option in options)))


@given(st.text(alphabet=st.sampled_from("ab &<>\n"), max_size=300), st.integers(8, 60))
def test_pieces_of_a_text_are_short_whole_and_in_order(text: str, limit: int) -> None:
    escaped = escape(text)
    pieces = split(escaped, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(escaped.split())
    for piece in pieces:
        assert "&" not in piece.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


def test_shortening_never_cuts_an_entity() -> None:
    assert shorten("abc&amp;d", 7) == "abc…"
    assert shorten("abc", 3) == "abc"
    assert harmless("a\r\nb") == "a\nb"


def clicked(message: Message, index: int) -> SlackEvent:
    local = LocalMessage(channel="C1", ts="5.000001", text="", blocks=message.blocks, via="chat.postMessage")
    request = button_click(local, local.buttons[index], person=Person(), response_url="https://x", trigger_id="t")
    parsed = parse_slack_event(decode_request([request.content_type], request.body), "s")
    assert isinstance(parsed, SlackEvent)
    return parsed


def test_a_pressed_button_is_read_as_the_answer_it_stands_for() -> None:
    event = clicked(rendered(question(ClarificationKind.CHOICE, options=("Berlin", "Paris"))), 1)
    assert read_answer(event) == AnswerGiven(
        clarification_id="c" * 32,
        run_id="r" * 32,
        answer="Paris",
        response_url="https://x",
        channel="C1",
        message_ts="5.000001",
    )


def test_a_form_remembers_which_question_it_answers_and_where_that_stands() -> None:
    event = clicked(rendered(question(ClarificationKind.INPUT, "Which city? " + "long " * 200)), 0)
    wanted = read_answer(event)
    assert isinstance(wanted, FormWanted)
    form = {"callback_id": "callboard.answer", "private_metadata": form_metadata(event, wanted), "blocks": []}
    request = view_submission(
        {**form, "id": "V1", "hash": "h"}, {"answer": {"text": "Rome"}}, person=Person(), trigger_id="t"
    )
    submitted = parse_slack_event(decode_request([request.content_type], request.body), "s")
    assert isinstance(submitted, SlackEvent)
    given_back = read_answer(submitted)
    assert isinstance(given_back, AnswerGiven)
    assert (given_back.how, given_back.entered) == ("open", {"answer": {"text": "Rome"}})
    assert (given_back.clarification_id, given_back.message_ts) == ("c" * 32, "5.000001")


@pytest.mark.parametrize("value", ["", "null", "[]", "{}", "not json", '{"c":1}', "5"])
def test_a_button_that_only_looks_like_ours_answers_nothing(value: str) -> None:
    button = {"type": "button", "action_id": "callboard.answer.0", "value": value}
    local = LocalMessage(channel="C1", ts="5.1", text="", blocks=(), via="x")
    request = button_click(local, button, person=Person(), response_url="https://x", trigger_id="t")
    parsed = parse_slack_event(decode_request([request.content_type], request.body), "s")
    assert isinstance(parsed, SlackEvent)
    assert read_answer(parsed) is None
