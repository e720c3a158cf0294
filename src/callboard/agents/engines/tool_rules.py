"""What the rules of an agent file say of one call: patterns of people's over arguments of a model's."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from callboard.agents.engines.policy import Ruling
from callboard.config.tool_settings import Approval, ToolRule, ToolSettings
from callboard.llm.pattern_search import MAX_SEARCHED_CHARS, PatternSearch, PatternTooSlowError

Arguments = Mapping[str, JsonValue]


class ToolRules:
    """Searches within bounds: no pattern and no argument can hold the loop up.

    What cannot be told counts as fitting where the rule is stricter than `auto`, so that nobody slips through by
    making an argument too long to be searched or a pattern too slow on it.
    """

    def __init__(self, patterns: PatternSearch) -> None:
        self._patterns = patterns

    async def ruling(self, settings: ToolSettings, arguments: Arguments) -> Ruling:
        """The first rule that fits decides, else the tool's own `approval`."""
        for rule in settings.rules:
            why = await self._fits(rule, arguments)
            if why is not None:
                return Ruling(approval=rule.approval, why=why)
        return Ruling(approval=settings.approval, why=f"this tool's approval is set to {settings.approval.value}")

    async def _fits(self, rule: ToolRule, arguments: Arguments) -> str | None:
        """Why the rule holds for the call, None when it does not."""
        reasons = []
        for name, pattern in rule.when.items():
            text = argument_text(arguments, name)
            reason = await self._found(name, pattern, text, strict=rule.approval is not Approval.AUTO)
            if reason is None:
                return None
            reasons.append(reason)
        return " and ".join(reasons)

    async def _found(self, name: str, pattern: str, text: str, *, strict: bool) -> str | None:
        try:
            if await self._patterns.found(pattern, text):
                return f"its argument {name} fits the rule {pattern!r}"
        except PatternTooSlowError:
            return f"its argument {name} cannot be checked against the rule {pattern!r} in time" if strict else None
        if strict and len(text) > MAX_SEARCHED_CHARS:
            return f"its argument {name} is longer than the {MAX_SEARCHED_CHARS} characters that rules can check"
        return None


def argument_text(arguments: Arguments, name: str) -> str:
    """An argument as rules see it: text as it is, anything else as JSON, a missing one empty. Dots lead into objects,
    unless an argument is called so as it stands."""
    value: JsonValue | None = None
    if name in arguments:
        value = arguments[name]
    else:
        inside: JsonValue = dict(arguments)
        for part in name.split("."):
            inside = inside.get(part) if isinstance(inside, dict) else None
        value = inside
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def _plain(value: JsonValue) -> JsonValue:
    """With whole numbers written as such: 1.2e30 would fit no pattern of digits."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
