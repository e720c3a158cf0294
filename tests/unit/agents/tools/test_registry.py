"""Tools by name: those that are always there, and those that come, change and go."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from pydantic import JsonValue

from callboard.agents.engine import Succeeded
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.tools.registry import ToolBinding, ToolRegistry
from callboard.config.tool_settings import ToolSettings
from callboard.errors import InvalidInputError
from callboard.llm.provider import LLMRequest, LLMResponse
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal


class Shelf:
    """A source of tools by name."""

    def __init__(self, *tools: Counter) -> None:
        self.tools = {tool.name: tool for tool in tools}

    def names(self) -> Collection[str]:
        return self.tools.keys()

    def check(self, name: str, options: Mapping[str, JsonValue]) -> None:
        if options:
            raise InvalidInputError(f"{name} takes no options")

    def tool(self, name: str, options: Mapping[str, JsonValue]) -> Counter | None:
        return self.tools.get(name)


def registry(shelf: Shelf) -> ToolRegistry:
    return ToolRegistry({"fixed": lambda options: Counter("fixed")}, shelf)


def test_the_names_are_those_of_now() -> None:
    shelf = Shelf()
    tools = registry(shelf)
    known = tools.known
    assert ("days" in known, list(known), len(known)) == (False, ["fixed"], 1)
    shelf.tools["days"] = Counter("days")
    assert ("days" in known, list(known), len(known)) == (True, ["days", "fixed"], 2)


def test_what_is_not_there_or_does_not_take_its_options_is_refused() -> None:
    tools = registry(Shelf(Counter("days")))
    for binding, said in (
        (ToolBinding(name="dais"), "unknown tool 'dais' \\(did you mean 'days'"),
        (ToolBinding(name="days", options={"a": 1}), "days takes no options"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            tools.build([binding])


def test_a_set_of_tools_is_what_there_is_now() -> None:
    shelf = Shelf(Counter("days"))
    built = registry(shelf).build([ToolBinding(name="days"), ToolBinding(name="fixed")])
    more = built.plus([(Counter("days"), ToolSettings(name="days")), (Counter("more"), ToolSettings(name="more"))])
    assert more.names() == ["days", "fixed", "more"]
    assert more.get("days") is shelf.tools["days"]
    shelf.tools["days"] = Counter("days", result="anew")
    assert built.get("days") is shelf.tools["days"]
    del shelf.tools["days"]
    assert (built.get("days"), built.names(), [spec.name for spec in built.specs]) == (None, ["fixed"], ["fixed"])


async def test_a_run_under_way_is_offered_what_has_become_of_its_tools() -> None:
    shelf = Shelf(Counter("days"))
    built = registry(shelf).build([ToolBinding(name="days"), ToolBinding(name="fixed")])

    def goes(request: LLMRequest) -> LLMResponse:
        del shelf.tools["days"]
        return calls("fixed")

    model = ModelOf(calls("days"), goes, calls("days"), says("done"))
    given = work(MemoryJournal(Ledger()), model)
    object.__setattr__(given, "tools", built)
    outcome = await ToolLoopEngine().execute(given)
    assert isinstance(outcome, Succeeded)
    offered = [[spec.name for spec in request.tools] for request in model.requests]
    assert ["days" in names for names in offered] == [True, True, False, False]
    assert "there is no tool 'days'" in str(model.requests[-1].messages[-1].content)
