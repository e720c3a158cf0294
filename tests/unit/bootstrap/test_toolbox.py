"""The tools that people are shown."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from callboard.agents.tools.run_agent import RUN_AGENT_FACTORY
from callboard.agents.tools.send_email import MailTools
from callboard.agents.tools.tool import Tool
from callboard.agents.tools.tool_options import read_options
from callboard.agents.tools.web_search import WebSearchOptions
from callboard.bootstrap.toolbox import make_toolbox
from callboard.clock import ManualClock
from callboard.settings import Settings


def refuses(options: Mapping[str, JsonValue]) -> Tool:
    read_options("web_search", WebSearchOptions, options)
    raise AssertionError("unreachable: it cannot be made without options")


@pytest.mark.parametrize("name", ["run_agent", "send_email", "web_search"])
def test_a_tool_that_needs_options_says_what_it_does_beside_what_it_needs(name: str) -> None:
    factories = {**RUN_AGENT_FACTORY, **MailTools(None).factories(), "web_search": refuses}
    listed = {tool.name: tool for tool in make_toolbox(Settings(), factories, ManualClock()).listing().tools}
    assert listed[name].needs
    assert listed[name].description
    assert listed[name].description != listed[name].needs
