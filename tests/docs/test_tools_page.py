"""The page of the tools names every tool that an agent file may list, and every option of each."""

from __future__ import annotations

from pydantic import BaseModel

from callboard.agents.tools.http_options import HttpOptions
from callboard.agents.tools.memory_options import MemoryOptions
from callboard.agents.tools.run_python import RunPythonOptions
from callboard.agents.tools.send_email import SendEmailOptions
from callboard.agents.tools.slack_post import SlackPostOptions
from callboard.agents.tools.sql_query_options import SqlQueryOptions
from callboard.agents.tools.web_search import WebSearchOptions
from tests.docs.blocks import prose
from tests.support.processes import ROOT

PAGE = prose(ROOT / "docs" / "reference" / "tools.md")
OPTIONS: dict[str, type[BaseModel]] = {
    "http_get": HttpOptions,
    "run_python": RunPythonOptions,
    "remember": MemoryOptions,
    "send_email": SendEmailOptions,
    "slack_post": SlackPostOptions,
    "sql_query": SqlQueryOptions,
    "web_search": WebSearchOptions,
}


def _section(tool: str) -> str:
    """From the heading that names the tool to the next one."""
    (section,) = [part for part in PAGE.split("\n### ") if part.startswith(f"`{tool}`")]
    return section.partition("\n## ")[0]


def test_every_option_of_a_tool_is_explained() -> None:
    missing = {
        tool: [name for name in record.model_fields if f"| `{name}` |" not in _section(tool)]
        for tool, record in OPTIONS.items()
    }
    assert missing == {tool: [] for tool in OPTIONS}
