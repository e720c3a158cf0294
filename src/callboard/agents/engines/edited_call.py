"""Whether a person may change a call so, told at once, where nothing of the run is at hand but its question.

The question of an approval holds what decides it: the tool's schema, and in its details the policy of the agent file.
The engine looks once more when the run goes on (`ToolCalls`), and has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from callboard.agents.engines.exposure import exposure
from callboard.agents.engines.policy import Deny, decision
from callboard.agents.engines.tool_rules import ToolRules
from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.tool import ToolTraits
from callboard.config.tool_settings import Approval, ToolSettings
from callboard.state.clarifications import Clarification

POLICY, WRITTEN = "policy", "written"
"""Among the details of an approval: what the agent file says of the tool, in its own form; and, where addresses would
be denied because the run has read what strangers wrote, the texts in which an address may stand, each word once."""

MAX_WRITTEN_CHARS = 50_000
"""A question holds no more of them: of a longer conversation only the run that goes on knows what was written in it."""


def policy_details(settings: ToolSettings, written: Sequence[str] | None) -> dict[str, JsonValue]:
    """What a question has to hold for its answers to be judged; empty where nothing is denied to this tool.

    `written` is what `exposure` takes, None where it does not matter what the run has read.
    """
    words: list[JsonValue] = [" ".join(dict.fromkeys(text.split())) for text in written or ()]
    known = written is not None and sum(len(str(text)) for text in words) <= MAX_WRITTEN_CHARS
    if not known and Approval.DENY not in (settings.approval, *(rule.approval for rule in settings.rules)):
        return {}
    rules: list[JsonValue] = [{"when": dict(rule.when), "approval": rule.approval.value} for rule in settings.rules]
    policy: dict[str, JsonValue] = {"approval": settings.approval.value, "rules": rules}
    if not known:
        return {POLICY: policy}
    allow = {name: value for name, value in settings.with_.items() if name == "allow"}
    policy |= {"after_untrusted": settings.after_untrusted.value, "with": allow}
    return {POLICY: policy, WRITTEN: words}


class EditedCalls:
    """Judges the arguments that people give a call; `problems` is what the store asks."""

    def __init__(self, rules: ToolRules) -> None:
        self._rules = rules

    async def problems(self, question: Clarification, arguments: Mapping[str, Any]) -> list[str]:
        """One sentence a problem. A question that an earlier release asked holds no policy."""
        problems = [] if question.schema is None else argument_problems(question.schema, arguments)
        settings = _settings(question)
        if settings is not None:
            ruling = await self._rules.ruling(settings, arguments)
            way_out = _way_out(question, settings, arguments)
            match decision(ruling, after_untrusted=settings.after_untrusted, exposure=way_out):
                case Deny(why=why):
                    problems.append(f"{question.tool} is not allowed with them: {why}")
        return problems


def _settings(question: Clarification) -> ToolSettings | None:
    policy = question.details.get(POLICY)
    if not isinstance(policy, Mapping):
        return None
    try:
        return ToolSettings.model_validate({**policy, "name": question.tool})
    except ValidationError:
        return None  # another release's form


def _way_out(question: Clarification, settings: ToolSettings, arguments: Mapping[str, Any]) -> str | None:
    written = question.details.get(WRITTEN)
    if not isinstance(written, list):
        return None
    # A tool that sends out whatever it is called with was denied when it was wanted, and nobody was asked.
    return exposure(ToolTraits(), settings, arguments, written=[str(text) for text in written])
