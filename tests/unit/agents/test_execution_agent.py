"""Why an agent cannot work here is known before its first run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import JsonValue

from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.execution_agent import AgentWorkshop
from callboard.agents.tools.mcp.agent_servers import AgentServersMaker
from callboard.agents.tools.mcp.command_policy import CommandPolicy
from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.servers import McpServers
from callboard.agents.tools.mcp.tool_source import McpToolSource
from callboard.agents.tools.registry import ToolRegistry
from callboard.agents.tools.run_agent import RUN_AGENT_FACTORY
from callboard.agents.tools.send_email import MailTools
from callboard.clock import SystemClock
from callboard.config.definition import AgentDefinition
from callboard.config.secrets import resolve_tree
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider
from tests.support.mcp_world import NoPins


def why(tools: list[Any], *, judges_tools: bool = True, commands: frozenset[str] = frozenset()) -> str | None:
    clock = SystemClock()

    def secrets(options: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        return resolve_tree(dict(options), {"SET": "helper"})  # type: ignore[return-value]

    def nobody_connects(settings: McpServerSettings, on_changed: Callable[[], None]) -> Any:
        raise AssertionError(f"{settings.described} is connected for a judgement")

    servers = McpServers(nobody_connects, clock, commands=CommandPolicy(commands))
    workshop = AgentWorkshop(
        providers=LLMProviderFactory({"scripted": lambda config: ScriptedProvider(config, clock)}),
        tools=ToolRegistry({**RUN_AGENT_FACTORY, **MailTools(None).factories()}),
        engine=ToolLoopEngine(),
        resolve_secrets=secrets,
        servers=AgentServersMaker(McpToolSource(servers, NoPins()), secrets),
        clock=clock,
        judges_tools=judges_tools,
    )
    agent = {"name": "a", "agent_type": "demo", "execution_mode": "autonomous", "tools": tools}
    return workshop.why_unavailable(
        AgentDefinition.model_validate({**agent, "llm_config": {"provider": "scripted", "model_id": "echo"}})
    )


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (
            {"mcp": {"name": "files", "command": ["npx", "-y", "files-server"]}},
            "MCP server 'files' (npx files-server) cannot be started: 'npx' is not among the commands allowed",
        ),
        ({"mcp": {"command": ["npx"]}}, "; the operator allows it with CALLBOARD_MCP_COMMANDS=npx"),
        (
            {"mcp": {"name": "files", "command": ["no-such-program"]}},
            "there is no program 'no-such-program' on this machine; install it, or write its path",
        ),
        ({"mcp": {"command": [sys.executable], "env": {"KEY": "${env:NOT_SET}"}}}, "add NOT_SET to the environment"),
        ({"name": "run_agent", "with": {"agents": ["${env:NOT_SET}"]}}, "add NOT_SET to the environment"),
        ({"name": "run_agent", "with": {"agent": "helper"}}, "run_agent, with.agent: no such option; it takes agents"),
        ({"name": "send_email", "with": {"allow": ["@example.com"]}}, "set CALLBOARD_SMTP_URL"),
        ("send_mail", "tool 'send_mail' is not known; known are: run_agent, send_email"),
    ],
)
def test_an_agent_whose_tool_cannot_be_made_is_unavailable_with_the_reason(tool: Any, words: str) -> None:
    reason = why([tool], commands=frozenset({"no-such-program", sys.executable}))
    assert reason is not None
    assert words in reason


def test_an_agent_whose_tools_can_be_made_is_available() -> None:
    assert why([{"name": "run_agent", "with": {"agents": ["${env:SET}"]}}]) is None
    program = {"mcp": {"command": [sys.executable], "env": {"KEY": "${env:SET}"}}}
    assert why([program, {"mcp": {"url": "https://mcp.example"}}], commands=frozenset({sys.executable})) is None
    assert why([program], commands=frozenset({"*"})) is None


def test_who_has_no_keys_of_tools_does_not_judge_them() -> None:
    assert why([{"name": "send_email", "with": {"allow": ["@example.com"]}}], judges_tools=False) is None
    assert why([{"mcp": {"command": ["npx"]}}], judges_tools=False) is None
