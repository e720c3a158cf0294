"""A call that a person changes is judged at once as the engine will judge it, by what its question holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydantic import JsonValue

from callboard.agents.engine import Asked, Question
from callboard.agents.engines.edited_call import MAX_WRITTEN_CHARS, EditedCalls
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.engines.tool_rules import ToolRules
from callboard.config.tool_settings import ToolSettings
from callboard.llm.pattern_search import MAX_SEARCHED_CHARS, PatternSearch
from callboard.state.clarifications import Clarification, ClarificationKind, ClarificationStatus
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal

FIELDS: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["text"],
    "additionalProperties": False,
}


def sending(**more: Any) -> ToolSettings:
    return ToolSettings.model_validate({"name": "send", "approval": "ask", **more})


async def outcome_of(
    setting: ToolSettings, ledger: Ledger, tool: Counter, answers: Any = None, *, text: str = "hi", **more: Any
) -> Any:
    model = ModelOf(*([] if answers else [calls("send", text=text)]), says("done"))
    given_work = work(MemoryJournal(ledger), model, tools=[tool], settings=[setting], answers=answers, **more)
    return await ToolLoopEngine().execute(given_work)


async def asked_about(setting: ToolSettings, ledger: Ledger) -> Question:
    asked = await outcome_of(setting, ledger, Counter(parameters=FIELDS))
    assert isinstance(asked, Asked), asked
    return asked.question


def stored(question: Question) -> Clarification:
    """As the database has it, and whoever takes the answer."""
    return Clarification(
        id="q",
        tenant="default",
        run_id="r",
        root_run_id="r",
        key=question.key,
        agent="a",
        trace_id="t",
        kind=ClarificationKind(question.kind),
        question=question.text,
        options=(),
        schema=None if question.schema is None else dict(question.schema),
        status=ClarificationStatus.ASKED,
        answer=None,
        comment=None,
        answered_by=None,
        asked_at=datetime(2026, 1, 1, tzinfo=UTC),
        deadline=None,
        answered_at=None,
        purpose="approval",
        details=question.details,
    )


async def problems(question: Clarification, arguments: Mapping[str, JsonValue]) -> list[str]:
    return await EditedCalls(ToolRules(PatternSearch())).problems(question, arguments)


async def test_the_question_holds_the_policy_only_where_that_denies_something() -> None:
    rules = [{"when": {"text": "drop"}, "approval": "deny"}]
    question = await asked_about(sending(rules=rules), Ledger())
    assert question.details["policy"] == {"approval": "ask", "rules": rules}
    question = await asked_about(sending(rules=[{"when": {"text": "drop"}, "approval": "auto"}]), Ledger())
    assert "policy" not in question.details


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"text": "drop table"}, "send is not allowed with them: its argument text fits the rule 'drop'"),
        ({"text": "(" * 40 + "x"}, "its argument text fits the rule '[(]{30}'"),
        ({"text": "a" * (MAX_SEARCHED_CHARS + 1)}, "its argument text is longer than"),
        ({"text": "hi", "count": 1.0}, "arguments.count must be of type integer"),
        ({"text": "kind"}, None),
        ({"text": "ok drop"}, None),
    ],
)
async def test_what_the_file_denies_and_the_tool_does_not_take_is_named(
    arguments: dict[str, JsonValue], said: str | None
) -> None:
    rules = [
        {"when": {"text": "^ok"}, "approval": "auto"},
        {"when": {"text": "drop"}, "approval": "deny"},
        {"when": {"text": "[(]{30}"}, "approval": "deny"},
    ]
    found = await problems(stored(await asked_about(sending(rules=rules), Ledger())), arguments)
    assert (found == []) == (said is None), found
    assert said is None or said in found[0]


async def test_where_only_some_arguments_are_allowed_all_others_are_refused() -> None:
    setting = sending(approval="deny", rules=[{"when": {"text": "^hi"}, "approval": "ask"}])
    question = stored(await asked_about(setting, Ledger()))
    assert await problems(question, {"text": "hi there"}) == []
    (said,) = await problems(question, {"text": "bye"})
    assert "approval is set to deny" in said


@pytest.mark.parametrize("policy", [None, "deny", {"approval": "never heard of"}, {"rules": [{"when": {}}]}])
async def test_a_question_of_another_release_is_left_to_the_run(policy: JsonValue) -> None:
    question = stored(await asked_about(sending(), Ledger()))
    details = {**question.details, **({} if policy is None else {"policy": policy})}
    assert await problems(replace(question, details=details), {"text": "drop table"}) == []


ASKED_IN = """Read https://news.example/today and /archive?page=2&amp;order=asc there,
or what the host files.example has."""
STRICT = sending(after_untrusted="deny", **{"with": {"allow": ["*.wiki.example"]}})


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("https://news.example/today", True),
        ("https://news.example/archive?page=2&order=asc", True),
        ("https://files.example/", True),
        ("https://en.wiki.example/any?thing", True),
        ("no address", True),
        ("https://news.example/today?secret=1", False),
        ("https://files.example/secret", False),
        ("https://evil.example/", False),
    ],
)
async def test_H2_addresses_that_the_run_would_be_denied_are_refused_at_once(text: str, allowed: bool) -> None:
    read: dict[str, Any] = {"input": ASKED_IN, "tainted": True, "text": "read https://files.example"}
    ledger = Ledger()
    asked = await outcome_of(STRICT, ledger, Counter(parameters=FIELDS), **read)
    assert isinstance(asked, Asked), asked
    found = await problems(stored(asked.question), {"text": text})
    assert (found == []) == allowed, found
    assert allowed or "could carry data to" in found[0]
    tool = Counter(parameters=FIELDS)
    answers = {asked.question.key: {"approved": True, "arguments": {"text": text}}}
    await outcome_of(STRICT, ledger, tool, answers, **read)
    assert len(tool.calls) == allowed, "the run that goes on says the same"


async def test_a_conversation_too_long_for_a_question_is_left_to_the_run() -> None:
    long = " ".join(f"word{number}" for number in range(MAX_WRITTEN_CHARS // 5))
    asked = await outcome_of(STRICT, Ledger(), Counter(parameters=FIELDS), input=long, tainted=True)
    assert not {"policy", "written"} & set(asked.question.details)
    assert await problems(stored(asked.question), {"text": "https://evil.example/"}) == []
    asked = await outcome_of(STRICT, Ledger(), Counter(parameters=FIELDS), input="again " * 20_000, tainted=True)
    assert asked.question.details["written"] == ["again"]


async def test_a_run_that_has_read_nothing_of_strangers_keeps_nothing_of_its_conversation_in_its_questions() -> None:
    asked = await outcome_of(STRICT, Ledger(), Counter(parameters=FIELDS))
    assert set(asked.question.details) == {"tool", "arguments", "digest", "why"}


WHEN = some.sampled_from([{"text": "drop"}, {"text": "^ok"}, {"count": "2"}, {"text": "drop", "count": "^$"}])
RULES = some.lists(
    some.fixed_dictionaries({"when": WHEN, "approval": some.sampled_from(["auto", "ask", "deny"])}), max_size=3
)
ARGUMENTS = some.fixed_dictionaries(
    {"text": some.sampled_from(["ok", "drop", "ok drop", "drop it", ""])},
    optional={"count": some.sampled_from([1, 2, 2.0])},
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules=RULES, arguments=ARGUMENTS)
async def test_the_verdict_is_that_of_the_run_which_goes_on(rules: list[Any], arguments: dict[str, JsonValue]) -> None:
    setting, ledger = sending(rules=rules), Ledger()
    question = await asked_about(setting, ledger)
    refused = await problems(stored(question), arguments)
    tool = Counter(parameters=FIELDS)
    await outcome_of(setting, ledger, tool, {question.key: {"approved": True, "arguments": arguments}})
    assert (tool.calls == []) == bool(refused), refused
