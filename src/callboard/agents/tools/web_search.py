"""`web_search`: pages found by a search engine of the operator's choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from callboard.agents.tools.pinned_client import HttpAnswer, HttpOrder, PinnedClient
from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.safe_url import UrlPolicy, check_url
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.agents.tools.tool_options import read_options

_BRAVE = "https://api.search.brave.com/res/v1/web/search"
_TAVILY = "https://api.tavily.com/search"
_GRACE_SECONDS = 2.0
_SNIPPET_CHARS = 500
MAX_ANSWER_BYTES = 1024 * 1024


class WebSearchOptions(BaseModel):
    """`searxng` needs the `url` of an instance whose JSON format is switched on; the two others need an `api_key`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    engine: Literal["searxng", "tavily", "brave"]
    url: str | None = Field(default=None, min_length=1, max_length=2000)
    api_key: str | None = Field(default=None, min_length=1, max_length=500, repr=False)
    max_results: int = Field(default=5, ge=1, le=20)
    timeout_seconds: float = Field(default=15.0, gt=0, le=120)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.engine == "searxng" and self.url is None:
            raise ValueError("searxng needs url: the address of your instance")
        if self.engine != "searxng" and self.api_key is None:
            raise ValueError(f'{self.engine} needs api_key: "${{env:NAME}}"')
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page as the engine tells of it."""

    title: str
    url: str
    snippet: str


class WebSearchTools:
    """Makes the tool for any agent; `permitted` is the process's setting for addresses of its own."""

    def __init__(self, client: PinnedClient, *, permitted: frozenset[str] = frozenset()) -> None:
        self._client = client
        self._policy = UrlPolicy(permitted=permitted)

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"web_search": self._make}

    def _make(self, options: ToolOptions) -> Tool:
        return WebSearch(self._client, self._policy, read_options("web_search", WebSearchOptions, options))


class WebSearch:
    """Asks one engine once; what comes back are strangers' words."""

    name = "web_search"
    description = "Search the web. The answer lists pages with title, address and a snippet; read one with http_get."
    parameters: Mapping[str, JsonValue] = {
        "type": "object",
        "properties": {"query": {"type": "string", "minLength": 1, "maxLength": 400}},
        "required": ["query"],
        "additionalProperties": False,
    }
    idempotent = True
    traits = ToolTraits(reads_untrusted=True, links=True)

    def __init__(self, client: PinnedClient, policy: UrlPolicy, options: WebSearchOptions) -> None:
        self._client = client
        self._policy = policy
        self._options = options

    @property
    def timeout_seconds(self) -> float:
        return self._options.timeout_seconds + _GRACE_SECONDS

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        del context
        order = search_order(self._options, str(arguments["query"]), self._policy)
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                answer = await self._client.send(order, self._policy)
        except TimeoutError:
            raise ToolError(f"{self._options.engine} gave no answer in {self._options.timeout_seconds:g} s") from None
        pages = found_pages(self._options.engine, answer)[: self._options.max_results]
        if not pages:
            return "Nothing was found."
        return "\n\n".join(f"{n}. {page.title}\n{page.url}\n{page.snippet}" for n, page in enumerate(pages, 1))


def search_order(options: WebSearchOptions, query: str, policy: UrlPolicy) -> HttpOrder:
    """The request to the engine; raises UnsafeUrlError where its address must not be reached."""
    headers = {"User-Agent": "callboard", "Accept": "application/json"}
    match options.engine:
        case "tavily":
            body = json.dumps({"query": query, "max_results": options.max_results}).encode()
            headers |= {"Authorization": f"Bearer {options.api_key}", "Content-Type": "application/json"}
            target = check_url(options.url or _TAVILY, policy)
            return HttpOrder(method="POST", target=target, headers=headers, body=body)
        case "brave":
            headers["X-Subscription-Token"] = options.api_key or ""
            asked = urlencode({"q": query, "count": options.max_results})
            return HttpOrder(
                method="GET", target=check_url(f"{options.url or _BRAVE}?{asked}", policy), headers=headers
            )
        case "searxng":
            asked = urlencode({"q": query, "format": "json"})
            url = f"{(options.url or '').rstrip('/')}/search?{asked}"
            return HttpOrder(method="GET", target=check_url(url, policy), headers=headers)


def found_pages(engine: str, answer: HttpAnswer) -> Sequence[Found]:
    """What the engine found, in its order; raises ToolError for an answer that is none."""
    if answer.status in (401, 403):
        raise ToolError(f"{engine} refused the key (HTTP status {answer.status}): a person has to look at with.api_key")
    if answer.status != 200:
        raise ToolError(f"{engine} answered with HTTP status {answer.status}")
    if answer.cut:
        raise ToolError(f"{engine} answered with more than {MAX_ANSWER_BYTES} bytes")
    try:
        document = json.loads(answer.body)
    except ValueError:
        raise ToolError(f"{engine} did not answer with JSON") from None
    listed = document.get("web", {}) if engine == "brave" and isinstance(document, dict) else document
    results = listed.get("results") if isinstance(listed, dict) else None
    if not isinstance(results, list):
        return ()
    text = "description" if engine == "brave" else "content"
    return [
        Found(
            title=_line(result.get("title")),
            url=_line(result.get("url")),
            snippet=_line(result.get(text))[:_SNIPPET_CHARS],
        )
        for result in results
        if isinstance(result, dict) and isinstance(result.get("url"), str)
    ]


def _line(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
