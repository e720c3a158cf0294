"""JSON Schemas as Slack forms: Slack takes every one of them, and what is filled in comes back as it was meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.views import View

from callboard.integrations.slack_form_fields import MAX_FIELDS, fields_of, place_problems, read_fields
from callboard.integrations.slack_forms import form_view, has_fields, read_form
from callboard.integrations.slack_local_limits import check_view
from callboard.integrations.slack_question_blocks import EDIT, OPEN, REJECT
from callboard.integrations.slack_wire import filled_in
from callboard.state.answer_forms import check_answer
from callboard.state.clarifications import Clarification, ClarificationKind, ClarificationStatus

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QUESTION = Clarification(
    id="c" * 32,
    tenant="default",
    run_id="r" * 32,
    root_run_id="r" * 32,
    key="k",
    agent="standup",
    trace_id="t" * 32,
    kind=ClarificationKind.INPUT,
    question="Which city?",
    options=(),
    schema=None,
    status=ClarificationStatus.ASKED,
    answer=None,
    comment=None,
    answered_by=None,
    asked_at=NOW,
    deadline=None,
    answered_at=None,
)
RULES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "maxLength": 10, "minLength": 2},
        {"type": "string", "format": "date"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"enum": ["a", "b", "c"]},
        {"enum": [1, True, None, "1"]},
        {"type": "array"},
        {"type": "object", "properties": {"x": {"type": "string"}}},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {},
        True,
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def approval(schema: dict[str, Any] | None, arguments: dict[str, Any]) -> Clarification:
    return replace(
        QUESTION,
        kind=ClarificationKind.CONFIRMATION,
        purpose="approval",
        schema=schema,
        details={"tool": "t", "arguments": arguments},
    )


def opened(question: Clarification, how: str) -> dict[str, Any]:
    """The form, after Slack's own library and our local Slack have judged it."""
    view = form_view(question, how, "{}")
    assert view is not None
    View(**view).validate_json()
    check_view(view)
    return view


def test_a_question_without_a_schema_is_one_field() -> None:
    (section, field) = opened(QUESTION, OPEN)["blocks"]
    assert section["text"]["text"] == "Which city?"
    assert field["element"]["type"] == "plain_text_input"
    assert read_form(QUESTION, OPEN, {"answer": {"text": "Rome"}}).answer == "Rome"


@pytest.mark.parametrize("properties", [0, MAX_FIELDS + 1])
def test_a_schema_that_makes_no_form_is_answered_as_json(properties: int) -> None:
    rules = {f"p{number}": {"type": "string"} for number in range(properties)}
    question = replace(QUESTION, schema={"type": "object", "properties": rules})
    assert not has_fields(question)
    assert opened(question, OPEN)["blocks"][-1]["label"]["text"] == "Your answer (JSON)"
    assert read_form(question, OPEN, {"answer": {"text": '{"p": 1}'}}).answer == {"p": 1}


def test_the_form_to_reject_is_one_field_that_may_stay_empty() -> None:
    assert opened(approval(None, {}), REJECT)["blocks"][-1]["optional"] is True
    assert read_form(approval(None, {}), REJECT, {}).answer is False


@pytest.mark.parametrize("required", [None, 5, [["a"]], [1], "a"])
def test_a_schema_that_says_nonsense_still_makes_a_form(required: Any) -> None:
    question = replace(QUESTION, schema={"type": "object", "properties": {"a": 5}, "required": required})
    opened(question, OPEN)


def test_what_a_schema_does_not_know_is_edited_with_the_rest_as_json() -> None:
    question = approval({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "x", "b": 1})
    form = opened(question, EDIT)
    assert [block["block_id"] for block in form["blocks"] if block["type"] == "input"] == ["answer"]
    assert read_form(question, EDIT, filled_in(form, {})).answer is True


def test_an_empty_text_stays_one_and_is_not_demanded() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    question = approval(schema, {"a": ""})
    form = opened(question, EDIT)
    assert form["blocks"][-1]["optional"] is True
    assert read_form(question, EDIT, filled_in(form, {})).answer is True


def test_problems_stand_at_the_field_they_are_about() -> None:
    fields = fields_of({"properties": {"a": {}, "a.b": {}, "c": {"type": "string"}}})
    assert fields is not None
    placed = place_problems(
        fields, ["c: too short", "a.0: no", "the value: 'c' is a required property", "the value: odd"]
    )
    assert placed == {
        "field2": "too short; the value: 'c' is a required property",
        "field0": "a.0: no; the value: odd",
    }


@settings(max_examples=150)
@given(st.dictionaries(st.text(min_size=1, max_size=30), RULES, min_size=1, max_size=8), st.data())
def test_a_form_left_as_it_is_gives_back_what_was_in_it(rules: dict[str, Any], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(rules)), unique=True))
    arguments = {name: data.draw(JSON) for name in names}
    question = approval({"type": "object", "properties": rules}, arguments)
    form = form_view(question, EDIT, "{}")
    assert form is not None
    View(**form).validate_json()
    check_view(form)
    state = {
        block["block_id"]: {block["element"]["action_id"]: _initial(block["element"])}
        for block in form["blocks"]
        if block["type"] == "input"
    }
    filled = read_form(question, EDIT, state)
    if filled.problems is None:
        assert filled.answer is True
        check_answer(question, filled.answer)
    else:
        assert set(filled.problems) <= set(state)


def _initial(element: dict[str, Any]) -> str:
    chosen = element.get("initial_option") or {}
    return str(element.get("initial_value") or element.get("initial_date") or chosen.get("value") or "")


@given(st.text(max_size=40), st.sampled_from(["integer", "number", "boolean", "array", "string"]))
def test_whatever_is_entered_is_a_value_or_a_problem(text: str, kind: str) -> None:
    fields = fields_of({"properties": {"a": {"type": kind}}})
    assert fields is not None
    values, problems = read_fields(fields, {"field0": {"value": text}})
    assert len(values) + len(problems) == (1 if text else 0)
