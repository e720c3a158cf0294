"""What of a server's listing can be shown to a model, and under which names."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.tools.mcp.remote_tools import MAX_DESCRIPTION_CHARS, offer_of
from callboard.agents.tools.mcp.server_settings import McpServerSettings, label_of, unique_labels
from callboard.agents.tools.mcp.tool_names import model_name
from callboard.agents.tools.mcp.tool_schema import MAX_SCHEMA_BYTES, UnusableToolError, parameters_of
from callboard.errors import InvalidInputError
from tests.support.mcp_world import SCHEMA, listed

PROVIDERS_TAKE = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@given(st.text(max_size=80), st.text(max_size=200))
def test_every_provider_takes_the_name_of_any_tool_of_any_server(label: str, tool: str) -> None:
    assert PROVIDERS_TAKE.fullmatch(model_name(label_of(label, None, ()), tool))


@given(st.text("ab_-", max_size=40), st.text("ab_-/", max_size=60), st.text("ab_-", max_size=40), st.text("ab_-/"))
def test_tools_of_two_servers_never_share_a_name(one: str, tool: str, two: str, other: str) -> None:
    labels = label_of(one, None, ()), label_of(two, None, ())
    if (labels[0], tool) != (labels[1], other):
        assert model_name(labels[0], tool) != model_name(labels[1], other)


@pytest.mark.parametrize(
    ("name", "url", "command", "label"),
    [
        ("files", None, (), "files"),
        ("my__files_", None, (), "my_files"),
        (None, "https://mcp.example.com/mcp", (), "mcp_example_com"),
        (None, None, ("npx", "-y", "@modelcontextprotocol/server-filesystem", "/data"), "server-filesystem"),
        (None, None, ("uvx", "mcp-server-time"), "mcp-server-time"),
        (None, None, ("/opt/tools/search.py",), "search_py"),
        (None, None, ("python", "-m", "server"), "server"),
    ],
)
def test_a_server_is_called_by_its_name_its_host_or_its_program(
    name: str | None, url: str | None, command: tuple[str, ...], label: str
) -> None:
    assert label_of(name, url, command) == label


def test_G6_two_servers_of_one_label_are_refused_with_the_way_out() -> None:
    servers = tuple(McpServerSettings(label="npx", command=("npx", each)) for each in "ab")
    with pytest.raises(InvalidInputError, match="two MCP servers are called 'npx': give each a name"):
        unique_labels(servers)


def test_settings_show_no_secret() -> None:
    settings = McpServerSettings(
        label="web", url="https://example.com/mcp?key=canary", headers={"X": "canary"}, env={"Y": "canary"}
    )
    assert "canary" not in f"{settings} {settings.described} {settings.connection_key}"


TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
}
BILLION: dict[str, Any] = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/n0"}},
    "$defs": {
        **{
            f"n{level}": {"properties": {str(each): {"$ref": f"#/$defs/n{level + 1}"} for each in range(10)}}
            for level in range(9)
        },
        "n9": {"type": "string"},
    },
}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "is not an object"),
        ([], "is not an object"),
        ({}, "is not of type object"),
        ({"type": "string"}, "is not of type object"),
        ({"type": "object", "properties": []}, "properties are no schemas"),
        ({"type": "object", "properties": {"x": 3}}, "properties are no schemas"),
        ({"type": "object", "required": "x"}, "required is no list of names"),
        ({"type": "object", "description": "x" * MAX_SCHEMA_BYTES}, "the limit is 32768"),
        ({"type": "object", "description": "\ud800"}, "is no JSON"),
        ({"type": "object", "properties": {"x": {"$ref": "https://example.com/x"}}}, "outside of itself"),
        ({"type": "object", "properties": {"x": {"$ref": "#/$defs/x"}}}, "which is not there"),
        ({"type": "object", "properties": {"x": {"$dynamicRef": "#x"}}}, r"uses \$dynamicRef"),
        (TREE, "endless"),
        (BILLION, "too deep or, with its references, too large"),
    ],
)
def test_G6_a_schema_that_cannot_be_used_says_why(schema: object, why: str) -> None:
    with pytest.raises(UnusableToolError, match=why):
        parameters_of(schema)


def test_a_deep_schema_is_refused_before_it_costs_anything() -> None:
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(100):
        deep = {"type": "object", "properties": {"x": deep}}
    with pytest.raises(UnusableToolError, match="too deep"):
        parameters_of(deep)


def test_what_a_schema_refers_to_stands_in_its_place() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "place": {"$ref": "#/$defs/place", "description": "where"},
            "pattern": {"type": "string", "pattern": "(a+)+$"},
        },
        "$defs": {"place": {"type": "string", "enum": ["$ref"], "default": {"$ref": "x"}}},
    }
    assert parameters_of(schema) == {
        "type": "object",
        "properties": {
            "place": {"type": "string", "enum": ["$ref"], "default": {"$ref": "x"}, "description": "where"},
            "pattern": {"type": "string"},
        },
    }


def test_G6_a_bad_tool_is_left_out_and_told_and_the_others_stay() -> None:
    entries: list[Any] = [
        listed("good"),
        listed("bad", schema={"type": "string"}),
        listed("twice"),
        listed("twice", "another"),
        listed("un\u202eseen"),
        listed("x" * 200),
        "no tool",
        {"name": 3},
        listed("hidden"),
    ]
    offer = offer_of("files", entries, ("good", "bad", "twice", "un\u202eseen", "x" * 200, "gone"))
    assert [tool.model_name for tool in offer.tools] == ["files__good"]
    told = "\n".join(offer.left_out)
    assert "2 entries of its list have no name" in told
    assert "tool 'bad' is left out: its input schema is not of type object" in told
    assert told.count("it is listed more than once") == 1
    assert "characters that cannot be seen" in told
    assert "its name has 200 characters" in told
    assert "tool 'gone' is allowed but not offered" in told
    assert "hidden" not in told


def test_H1_a_description_is_cut_and_shows_what_it_says() -> None:
    (tool,) = offer_of("web", [listed("a", "Reads\u200b\x1b[2J a page\U000e0041 " + "x" * 5000)], ()).tools
    assert tool.description.startswith("Reads[2J a page xxx")
    assert len(tool.description) == MAX_DESCRIPTION_CHARS


def test_G6_anything_that_a_server_changes_about_a_tool_changes_its_digest() -> None:
    forms = [
        listed("a"),
        listed("a", "other"),
        listed("a", "does a\u200b"),
        listed("a", schema={**SCHEMA, "required": ["text"]}),
        listed("a", annotations={"readOnlyHint": True}),
    ]
    digests = {offer_of("web", [form], ()).tools[0].digest for form in forms}
    assert len(digests) == len(forms)
    assert offer_of("other", [forms[0]], ()).tools[0].digest in digests
