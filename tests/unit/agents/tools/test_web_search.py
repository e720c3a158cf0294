"""Searching the web with each engine's own answers, against a real server."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from callboard.agents.tools.http import HttpTools
from callboard.agents.tools.registry import ToolBinding, ToolRegistry
from callboard.agents.tools.safe_url import UnsafeUrlError
from callboard.agents.tools.tool import NoArtifacts, Tool, ToolContext, ToolError
from callboard.agents.tools.web_search import MAX_ANSWER_BYTES, WebSearchTools
from callboard.errors import InvalidInputError
from tests.unit.agents.tools.local_web import LocalWeb, Names, local_web, page

CONTEXT = ToolContext(run_id="r", agent="a", idempotency_key="k" * 32, artifacts=NoArtifacts())
KEY = "key-of-the-search-engine"
ONE = {"title": "Callboard\n news", "url": "https://example.com/a", "content": "All  new.", "description": "All  new."}


def search(permitted: str, **options: JsonValue) -> Tool:
    reached = frozenset({permitted})
    client = HttpTools(Names(), permitted=reached).client(max_bytes=MAX_ANSWER_BYTES)
    tools = WebSearchTools(client, permitted=reached)
    made = ToolRegistry(tools.factories()).build([ToolBinding(name="web_search", options=options)]).get("web_search")
    assert made is not None
    return made


def answers(web: LocalWeb, path: str, document: object) -> None:
    web.pages[path] = page(json.dumps(document), kind="application/json")


async def test_searxng_is_asked_for_json() -> None:
    async with local_web() as web:
        answers(web, "/search?q=what+is+new%3F&format=json", {"results": [ONE, {"title": "no address"}, ONE]})
        tool = search(web.authority, engine="searxng", url=web.url(""), max_results=1)
        assert await tool.call({"query": "what is new?"}, CONTEXT) == (
            "1. Callboard news\nhttps://example.com/a\nAll new."
        )


async def test_tavily_gets_its_key_in_a_header_and_the_question_as_json() -> None:
    async with local_web() as web:
        answers(web, "/find", {"results": [ONE]})
        tool = search(web.authority, engine="tavily", url=web.url("/find"), api_key=KEY)
        assert "https://example.com/a" in await tool.call({"query": "news"}, CONTEXT)
        (request,) = web.seen
        assert request.method == "POST"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert json.loads(request.body) == {"query": "news", "max_results": 5}


async def test_brave_gets_its_key_in_a_header() -> None:
    async with local_web() as web:
        answers(web, "/find?q=news&count=5", {"web": {"results": [ONE]}})
        tool = search(web.authority, engine="brave", url=web.url("/find"), api_key=KEY)
        assert "All new." in await tool.call({"query": "news"}, CONTEXT)
        assert web.seen[0].headers["x-subscription-token"] == KEY


async def test_nothing_found_is_said() -> None:
    async with local_web() as web:
        answers(web, "/search?q=x&format=json", {"results": []})
        tool = search(web.authority, engine="searxng", url=web.url(""))
        assert await tool.call({"query": "x"}, CONTEXT) == "Nothing was found."


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (page("no", status="401 Unauthorized"), "refused the key"),
        (page("no", status="500 Broken"), "HTTP status 500"),
        (page("<html>", kind="text/html"), "did not answer with JSON"),
        (page("x" * (MAX_ANSWER_BYTES + 1)), "more than"),
        (b"drop", "exchange"),
        (b"hang", "no answer in 0.2 s"),
    ],
)
async def test_an_engine_that_does_not_answer_is_told_without_its_key(answer: bytes, told: str) -> None:
    async with local_web() as web:
        web.pages["/find"] = answer
        tool = search(web.authority, engine="tavily", url=web.url("/find"), api_key=KEY, timeout_seconds=0.2)
        with pytest.raises(ToolError, match=told) as error:
            await tool.call({"query": "x"}, CONTEXT)
        assert KEY not in error.value.message


@pytest.mark.parametrize("document", [[], {}, {"results": 1}, {"results": [1, None, {"url": 2}]}, "x", None])
async def test_an_answer_of_another_shape_is_nothing_found(document: JsonValue) -> None:
    async with local_web() as web:
        answers(web, "/find", document)
        tool = search(web.authority, engine="tavily", url=web.url("/find"), api_key=KEY)
        assert await tool.call({"query": "x"}, CONTEXT) == "Nothing was found."


async def test_H3_an_instance_behind_callboard_is_reached_only_where_the_process_permits_it() -> None:
    async with local_web() as web:
        tool = search("elsewhere:80", engine="searxng", url=web.url(""))
        with pytest.raises(UnsafeUrlError):
            await tool.call({"query": "x"}, CONTEXT)
        assert web.seen == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "searxng"}, "needs url"),
        ({"engine": "brave"}, "needs api_key"),
        ({"engine": "yahoo"}, "engine"),
        ({"engine": "brave", "api_key": KEY, "pages": 2}, "pages"),
    ],
)
def test_options_that_cannot_work_are_refused_without_naming_a_secret(options: dict[str, JsonValue], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told) as error:
        search("x:1", **options)
    assert KEY not in error.value.message
