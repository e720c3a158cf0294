"""Why an agent cannot work here is known before its first run."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.execution_agent import AgentWorkshop
from callboard.agents.tools.registry import ToolRegistry
from callboard.agents.tools.run_agent import RUN_AGENT_FACTORY
from callboard.agents.tools.send_email import MailTools
from callboard.clock import SystemClock
from callboard.config.definition import AgentDefinition
from callboard.config.secrets import resolve_tree
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider


def why(tools: list[Any], *, judges_tools: bool = True) -> str | None:
    clock = SystemClock()
    workshop = AgentWorkshop(
        providers=LLMProviderFactory({"scripted": lambda config: ScriptedProvider(config, clock)}),
        tools=ToolRegistry({**RUN_AGENT_FACTORY, **MailTools(None).factories()}),
        engine=ToolLoopEngine(),
        resolve_secrets=lambda options: resolve_tree(dict(options), {"SET": "helper"}),  # type: ignore[return-value,arg-type]
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
        ({"name": "run_agent", "with": {"agents": ["${env:NOT_SET}"]}}, "add NOT_SET to the environment"),
        ({"name": "run_agent", "with": {"agent": "helper"}}, "run_agent, with.agent: no such option; it takes agents"),
        ({"name": "send_email", "with": {"allow": ["@example.com"]}}, "set CALLBOARD_SMTP_URL"),
        ("send_mail", "tool 'send_mail' is not known; known are: run_agent, send_email"),
    ],
)
def test_an_agent_whose_tool_cannot_be_made_is_unavailable_with_the_reason(tool: Any, words: str) -> None:
    reason = why([tool])
    assert reason is not None
    assert words in reason


def test_an_agent_whose_tools_can_be_made_is_available() -> None:
    assert why([{"name": "run_agent", "with": {"agents": ["${env:SET}"]}}]) is None


def test_who_has_no_keys_of_tools_does_not_judge_them() -> None:
    assert why([{"name": "send_email", "with": {"allow": ["@example.com"]}}], judges_tools=False) is None
