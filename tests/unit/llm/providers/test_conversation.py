"""Our messages as the model layer has them, and back."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from callboard.llm.provider import LLMRequest, Message, ToolCall, ToolSpec
from callboard.llm.providers.conversation import calls_of, parameters, text_of, to_model_layer, whole

TEXT = st.text(alphabet=st.characters(codec=None))


def call(call_id: str, name: str = "look", **arguments: str) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def says(*calls: ToolCall, content: str = "") -> Message:
    return Message(role="assistant", content=content, tool_calls=calls)


def result(call_id: str, content: str = "seen", *, is_error: bool = False) -> Message:
    return Message(role="tool", content=content, tool_call_id=call_id, is_error=is_error)


def test_requests_and_answers_take_turns() -> None:
    told = to_model_layer(
        [
            Message(role="system", content="Be brief."),
            Message(role="user", content="one"),
            Message(role="user", content=""),
            says(call("a"), content="I look."),
            result("a", is_error=True),
            says(),
            Message(role="user", content="two"),
        ]
    )
    assert [type(message) for message in told] == [ModelRequest, ModelResponse, ModelRequest]
    first, answer, last = told
    assert [type(part) for part in first.parts] == [SystemPromptPart, UserPromptPart, UserPromptPart]
    assert [type(part) for part in answer.parts] == [TextPart, ToolCallPart]
    returned, asked = last.parts
    assert isinstance(returned, ToolReturnPart)
    assert (returned.outcome, returned.tool_name, returned.tool_call_id) == ("failed", "look", "a")
    assert isinstance(asked, UserPromptPart)


@given(st.lists(st.lists(st.text(max_size=60), max_size=3), max_size=5))
def test_each_call_is_sent_with_an_id_of_its_own_that_every_provider_takes(turns: list[list[str]]) -> None:
    messages = []
    for turn in turns:
        messages.append(says(*(call(call_id) for call_id in turn)))
        messages += [result(call_id) for call_id in turn]
    told = to_model_layer(messages)
    sent = [part.tool_call_id for message in told for part in message.parts if isinstance(part, ToolCallPart)]
    answered = [part.tool_call_id for message in told for part in message.parts if isinstance(part, ToolReturnPart)]
    assert len(sent) == len(set(sent)) == sum(map(len, turns))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", call_id) for call_id in sent)
    assert set(answered) <= set(sent)


@given(TEXT)
def test_whatever_a_model_wrote_can_be_encoded_and_ordinary_text_is_left_as_it_is(text: str) -> None:
    whole(text).encode()
    if not any(0xD800 <= ord(sign) < 0xE000 for sign in text):
        assert whole(text) == text


@given(st.one_of(st.none(), TEXT, st.dictionaries(TEXT, st.one_of(st.integers(), TEXT, st.none()))))
def test_arguments_are_an_object_or_kept_as_they_were_written(given_arguments: object) -> None:
    part = ToolCallPart(tool_name="look", args=given_arguments, tool_call_id="a")  # type: ignore[arg-type]
    (made,) = calls_of(ModelResponse(parts=[part]))
    assert made.malformed is None or not made.arguments
    if isinstance(given_arguments, dict):
        assert made.malformed is None
        assert len(made.arguments) == len({whole(key) for key in given_arguments})


def test_numbers_that_are_none_in_json_make_arguments_malformed() -> None:
    (made,) = calls_of(ModelResponse(parts=[ToolCallPart(tool_name="look", args='{"n": NaN}', tool_call_id="a")]))
    assert made.malformed == '{"n": NaN}'


def test_endless_nesting_is_malformed() -> None:
    deep = "[" * 100_000
    (made,) = calls_of(ModelResponse(parts=[ToolCallPart(tool_name="look", args=deep, tool_call_id="a")]))
    assert made.malformed == deep


def test_calls_without_an_id_get_one_by_their_place() -> None:
    response = ModelResponse(parts=[ToolCallPart(tool_name="look", args="{}"), ToolCallPart("look", "{}", "")])
    assert [made.id for made in calls_of(response)] == ["call_0", "call_1"]


def test_thoughts_are_no_part_of_what_is_said() -> None:
    assert text_of(ModelResponse(parts=[ThinkingPart(content="hm"), TextPart(content="yes")])) == "yes"


def test_a_schema_is_sent_where_the_model_has_a_mode_for_it() -> None:
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    request = LLMRequest(messages=(), output_schema=schema)
    tools = (ToolSpec(name="look", description="Looks.", parameters={"type": "object"}),)
    native = parameters(tools, request, native_schema=True)
    assert native.output_mode == "native"
    assert native.output_object is not None
    assert native.output_object.json_schema == schema
    assert [tool.name for tool in native.function_tools] == ["look"]
    assert parameters(tools, request, native_schema=False).output_mode == "text"
