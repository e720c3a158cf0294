"""Whatever JSON a server sends, it becomes tools and text, or a reason: never a defect."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.tools.mcp.answers import answer_text
from callboard.agents.tools.mcp.remote_tools import offer_of
from callboard.agents.tools.mcp.tool_schema import UnusableToolError, parameters_of
from callboard.agents.tools.tool import NoArtifacts, ToolError
from tests.support.mcp_world import KeptArtifacts

WORDS = st.sampled_from(
    ["type", "object", "properties", "$ref", "#/$defs/a", "$defs", "a", "items", "anyOf", "enum", "required", "name"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS
JSON: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=30,
)
SCHEMAS = st.fixed_dictionaries({"type": st.just("object") | JSON}, optional={"properties": JSON, "$defs": JSON})
ENTRIES = st.lists(JSON | st.fixed_dictionaries({"name": st.text() | JSON, "inputSchema": SCHEMAS | JSON}), max_size=5)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "audio", "resource", "resource_link", "new"]) | JSON},
    optional={
        "text": JSON,
        "data": JSON | st.just("aGk="),
        "mimeType": JSON | st.just("image/png"),
        "uri": JSON,
        "resource": JSON | st.fixed_dictionaries({"uri": JSON}, optional={"text": JSON, "blob": JSON}),
    },
)
RESULTS = st.fixed_dictionaries(
    {}, optional={"content": JSON | st.lists(PARTS | JSON, max_size=5), "structuredContent": JSON, "isError": JSON}
)


@given(SCHEMAS | JSON)
def test_G6_any_schema_becomes_parameters_or_a_reason(schema: Any) -> None:
    with contextlib.suppress(UnusableToolError):
        parameters = parameters_of(schema)
        assert parameters["type"] == "object"
        assert "$ref" not in parameters


@given(ENTRIES)
def test_G6_any_listing_becomes_tools_and_reasons(entries: list[Any]) -> None:
    offer = offer_of("web", entries, ())
    assert len({tool.model_name for tool in offer.tools}) == len(offer.tools)
    assert all(isinstance(reason, str) for reason in offer.left_out)


@given(RESULTS)
async def test_G6_any_result_becomes_a_text_or_an_error(result: dict[str, Any]) -> None:
    with contextlib.suppress(ToolError):
        assert await answer_text("web__tool", result, KeptArtifacts())


async def test_an_image_that_cannot_be_kept_does_not_cost_the_text_beside_it() -> None:
    parts: list[Any] = [{"type": "text", "text": "a cat"}, {"type": "image", "data": "aGk=", "mimeType": "image/png"}]
    said = await answer_text("web__cat", {"content": parts}, NoArtifacts())
    assert said.startswith("a cat\n[image/png, 2 bytes, not kept:")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({}, "(an empty answer)"),
        ({"content": [{"type": "text", "text": '{"a": 1}'}], "structuredContent": {"a": 1}}, '{"a": 1}'),
        ({"content": [{"type": "text", "text": "hi"}], "structuredContent": {"result": "hi"}}, "hi"),
        ({"content": [{"type": "text", "text": "hi"}], "structuredContent": {"a": 1}}, 'hi\n{"a": 1}'),
        ({"content": [{"type": "image", "data": "%", "mimeType": "x"}]}, "[x, damaged: it is not base64]"),
        ({"content": [{"type": "new"}]}, "[a part of type 'new', which cannot be shown]"),
    ],
)
async def test_a_result_is_shown_once(result: dict[str, Any], said: str) -> None:
    assert await answer_text("web__tool", result, KeptArtifacts()) == said
