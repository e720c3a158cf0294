"""The agent file's rules, one by one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from callboard.config.agent_file import load_agent
from callboard.config.cron_syntax import cron_problem
from callboard.config.definition import AgentDefinition, ExecutionMode
from callboard.config.topic_patterns import pattern_problem

FULL = """\
name: standup
description: What it is for
agent_type: reporter
capabilities: [summaries]
execution_mode: autonomous
llm_config:
  provider: anthropic
  model_id: claude-sonnet-4-5
  temperature: 0.2
  max_tokens: 1024
  base_url: null
  fallback: [{provider: ollama, model_id: llama3.1}]
instructions: |
  You sum up.
subscriptions: [slack.events.command.standup, slack.events.message.*]
slack:
  commands: [/standup]
  mentions: true
  channels: ["#eng"]
  reply: thread
  on_busy: queue
conversation: agent
schedules:
  - {cron: "0 9 * * MON-FRI", timezone: Europe/Berlin, input: "x", misfire: run_once, overlap: skip, deliver_to: "#eng"}
  - {interval_seconds: 300}
tools:
  - http_get
  - {name: sql_query, with: {database: "${env:REPORTING_DSN}"}}
  - {mcp: {url: "https://example.com/mcp"}, allow: [search], approval: ask}
limits: {timeout_seconds: 300, max_attempts: 3, max_concurrency: 10, max_tool_calls: 50, max_cost_usd: 0.25,
  daily_cost_usd: 2.00}
collaboration:
  members: [researcher, analyst]
  approve_plan: false
  max_steps: 12
  plan:
    - {id: research, agent: researcher, input: "${input}"}
    - {id: analyse, agent: analyst, input: "Judge: ${step.research.output}", depends_on: [research]}
examples: ["What changed since yesterday?"]
"""

SCRIPT = """\
name: scripted
agent_type: test
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: weather, say: "It rains."}
    - {when: "ask me", ask: {question: "Which city?", options: [Berlin, Paris]}, say: "You said {answer}."}
    - {when: fetch, call: {tool: http_get, args: {url: "https://example.com"}}, say: "Got {result}"}
    - {when: slow, wait_seconds: 2, say: done}
    - {when: boom, error: service_unavailable}
    - {when: many, error: rate_limit, retry_after_seconds: 3}
    - {say: "turn {turn}: {input}"}
"""


def definition(text: str) -> AgentDefinition:
    loaded = load_agent(text.encode(), "agents/x.yaml")
    assert loaded.definition is not None, list(map(str, loaded.problems))
    return loaded.definition


def problems(text: str) -> list[str]:
    return [
        str(problem).removeprefix("agents/x.yaml:") for problem in load_agent(text.encode(), "agents/x.yaml").problems
    ]


def test_the_whole_schema_is_accepted_and_survives_storing() -> None:
    agent = definition(FULL)
    assert agent.tools[1].with_ == {"database": "${env:REPORTING_DSN}"}
    assert AgentDefinition.model_validate(agent.model_dump(mode="json", by_alias=True)) == agent
    assert len(definition(SCRIPT).llm_config.script) == 7


def test_a_key_that_is_missing_is_named_with_what_to_add() -> None:
    assert problems(FULL.replace("agent_type: reporter\n", "")) == ["1:1: 'agent_type' is missing (add agent_type)"]


def test_a_misspelt_key_is_one_problem_not_two() -> None:
    assert problems(FULL.replace("agent_type:", "agent_tipe:")) == [
        "3:1: unknown key 'agent_tipe' (did you mean 'agent_type'?)"
    ]


def test_what_has_no_effect_is_warned_of_at_its_place() -> None:
    warnings = [str(item) for item in load_agent(FULL.encode(), "agents/x.yaml").warnings]
    assert not any("llm_config.fallback" in item for item in warnings)
    assert not any("cost_usd" in item for item in warnings)
    assert not any("tools.2.mcp" in item for item in warnings)


def test_a_scheduled_agent_runs_in_the_autonomous_pool() -> None:
    scheduled = FULL.replace("execution_mode: autonomous", "execution_mode: scheduled")
    assert definition(scheduled).mode is ExecutionMode.AUTONOMOUS


def test_every_problem_is_told_at_once_in_the_order_of_the_lines() -> None:
    found = problems(
        "name: Stand Up\nagent_typ: x\nexecution_mode: 5\nllm_config: {provider: openia, model_id: 1.10}\n"
    )
    assert [re.sub(r" \(.*", "", item) for item in found] == [
        "1:7: name is 'Stand Up'",
        "2:1: unknown key 'agent_typ'",
        "3:17: execution_mode is 5, which is not known",
        "4:24: llm_config.provider is 'openia', which is not known",
        "4:42: llm_config.model_id must be text, not 1.1",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("max_attempts: 3", 'max_attempts: "3"', "must be a whole number, not '3'"),
        ("max_attempts: 3", "max_attempts: true", "must be a whole number, not true"),
        ("mentions: true", "mentions: yes", "must be true or false, not 'yes'"),
        ("capabilities: [summaries]", "capabilities: summaries", "must be a list, not 'summaries'"),
        ("capabilities: [summaries]", "capabilities:", "must be a list, not empty (write a list or remove the key)"),
        ("[/standup]", "[standup]", "'standup' is no slash command"),
        ("reply: thread", "reply: tread", "did you mean 'thread'?"),
        ('"#eng"]', "eng]", "a channel such as"),
        (
            "model_id: claude-sonnet-4-5",
            "model_id: no\n  provder: x",
            "unknown key 'provder' (did you mean 'provider'?)",
        ),
        ("  - http_get", "  - {mcp: {url: ftp://x}}", "write https://"),
        ("  - http_get", "  - {}", "a tool is either a name or an mcp server"),
        ("  - http_get", "  - {name: x, mcp: {url: 'https://x'}}", "a tool is either a name or an mcp server"),
        ("{interval_seconds: 300}", '{interval_seconds: 300, cron: "* * * * *"}', "not both"),
        ("{interval_seconds: 300}", "{timezone: UTC}", "a schedule needs cron or interval_seconds"),
        ("members: [researcher, analyst]", "members: [researcher]", "'analyst' is not among the members"),
        ("depends_on: [research]", "depends_on: [reserch]", "did you mean 'research'?"),
        ("${step.research.output}", "${step.x.output}", "refers to a step 'x' that is not there"),
        ("max_steps: 12", "max_steps: 1", "the plan has 2 steps, max_steps is 1"),
        ("depends_on: [research]", 'when: "research is fine"', "is not understood at"),
        ("depends_on: [research]", 'when: "${step.research.output} == good"', "a text stands in quotes"),
        ("depends_on: [research]", 'when: "${step.x.output} == 1"', "refers to a step 'x' that is not there"),
        ("depends_on: [research]", "for_each: some, as: one", "'some' is no list"),
        ("depends_on: [research]", "as: one", "are for a list"),
        ("depends_on: [research]", "for_each: [1], as: input", "cannot be called 'input'"),
        ("depends_on: [research]", "plan: [{id: a, agent: analyst}]", "names both an agent and a plan"),
        ("agent: researcher, ", "", "names no agent"),
        ("agent: researcher, ", "plan: [{id: a, agent: nobody}], ", "'nobody' is not among the members"),
        (
            "agent: researcher, ",
            "for_each: [1], plan: [{id: a, agent: analyst, for_each: [2]}], ",
            "has no list of its own",
        ),
        (
            'agent: researcher, input: "${input}"',
            'agent: researcher, input: "${step.analyse.output}"',
            "wait for each other",
        ),
        ("${step.research.output}", "${item}", "${item} refers to nothing"),
        ("depends_on: [research]", "on_failure: panic", "stop"),
        ("max_steps: 12", "aggregate: {agent: nobody}", "'nobody' is not among the members"),
        ("max_steps: 12", "aggregate: some", "write last, all or"),
        ("depends_on: [research]", "for_each: 3", "'3' is no list"),
        ("base_url: null", "base_url: localhost", "is no URL of a server"),
    ],
)
def test_a_wrong_value_is_refused_with_the_way_out(old: str, new: str, words: str) -> None:
    assert old in FULL
    found = problems(FULL.replace(old, new, 1))
    assert len(found) == 1, found
    assert words in found[0]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{when: x}", "this rule does nothing"),
        ('{when: "[", say: x}', "is no regular expression"),
        ("{error: boom}", "rate_limit"),
        ("{error: crash, retry_after_seconds: 1}", "belongs to error: rate_limit"),
        ("{say: x, wait_seconds: -1}", "at least 0"),
        ("{ask: {qestion: x}}", "did you mean 'question'?"),
    ],
)
def test_a_rule_that_cannot_act_is_refused(rule: str, words: str) -> None:
    found = problems(SCRIPT.replace('{when: weather, say: "It rains."}', rule))
    assert any(words in item for item in found), found


def test_a_scheduled_agent_needs_a_schedule_and_a_scripted_one_rules() -> None:
    found = problems(
        "name: a\nagent_type: b\nexecution_mode: scheduled\nllm_config: {provider: scripted, model_id: script}\n"
    )
    assert any("a scheduled agent needs schedules" in item for item in found)
    assert any("model_id: script has no rules" in item for item in found)


def test_only_what_interface_calls_required_is_required() -> None:
    for mode in ("autonomous", "collaborative", "continuous"):
        text = f"name: a\nagent_type: b\nexecution_mode: {mode}\nllm_config: {{provider: scripted, model_id: echo}}\n"
        assert definition(text).execution_mode == mode


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("slack.#", True),
        ("scheduled.tasks.*", True),
        ("api.invoke.standup", True),
        ("agent.output.#", True),
        ("run.succeeded.#", True),
        ("run.timed_out.standup", True),
        ("shop.orders.*.paid", True),
        ("#", False),
        ("*.events", False),
        ("#.message", False),
        ("run.#", False),
        ("run.*.standup", False),
        ("run.queued.x", False),
        ("agent.*.x", False),
        ("agent.input.x", False),
        ("config.#", False),
        ("clarification.asked", False),
        ("slack..x", False),
        ("slack.a*", False),
        ("", False),
        ("slack." + "x" * 250, False),
    ],
)
def test_agents_hear_the_outside_world_and_ends_of_runs_and_nothing_internal(pattern: str, allowed: bool) -> None:
    assert (pattern_problem(pattern) is None) == allowed


FIELD = st.sampled_from(
    ["*", "0", "5", "59", "60", "7", "8", "12", "13", "23", "24", "31", "32", "*/15", "*/0", "1-5", "5-1", "1,2", "MON",
     "mon-fri", "JAN", "L", "LW", "5L", "MON#2", "1#6", "0/5", "a", "-1", "1-", "FRI-MON", "30", "1,", "5L/2", "2#2/2"]
)  # fmt: skip


@given(st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD).map(" ".join))
def test_a_cron_expression_is_accepted_exactly_where_the_scheduler_can_compute_it(expression: str) -> None:
    try:
        computed: Any = next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except Exception:  # noqa: BLE001  # cronsim fails in several ways
        computed = None
    if cron_problem(expression) is None:
        assert computed is not None, expression


@pytest.mark.parametrize(
    "expression",
    ["0 9 * * MON-FRI", "*/15 * * * *", "30 2 L * *", "0 0 * * MON#2", "0 0 29 2 *", "5,10 0-6/2 1 JAN,JUL *"],
)
def test_common_cron_expressions_are_accepted(expression: str) -> None:
    assert cron_problem(expression) is None


def test_the_reference_names_every_key() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "agent-file.md").read_text()
    schema = AgentDefinition.model_json_schema(by_alias=True)
    keys = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})}
    assert sorted(key for key in keys if f"`{key}`" not in reference) == []
