"""A plan in an agent file with conditions, a list, a plan within it and a rerun, from a request to its result."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard

SCOUT = """
name: scout
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: nothing, say: '{"ok": false, "cities": []}'}
    - {say: '{"ok": true, "cities": ["Oslo", "Rome", "Lima"]}'}
output_schema:
  type: object
  properties: {ok: {type: boolean}, cities: {type: array, items: {type: string}}}
  required: [ok, cities]
"""
WORKER = """
name: worker
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: boom, error: invalid_request}
    - {say: "did <{input}>"}
"""
TOUR = """
name: tour
agent_type: coordinator
execution_mode: collaborative
llm_config:
  provider: scripted
  model_id: script
  script:
    - when: "step 'fragile' failed"
      say: '{"steps": [{"id": "instead", "agent": "worker", "input": "sure way to ${step.list.output.cities.0}"}]}'
collaboration:
  members: [scout, worker]
  aggregate: last
  plan:
    - {id: list, agent: scout, input: "${input}"}
    - id: visit
      agent: worker
      for_each: "${step.list.output.cities}"
      as: city
      max_parallel: 2
      input: "see ${city}"
      when: "${step.list.output.ok} == true"
    - {id: apologise, agent: worker, input: sorry, when: "not ${step.list.output.ok}", depends_on: [list]}
    - id: write
      input: "${step.visit.output}"
      plan:
        - {id: draft, agent: worker, input: "draft of ${input}"}
        - {id: polish, agent: worker, input: "${step.draft.output}, polished"}
    - id: end
      agent: worker
      input: "${step.write.output}|${step.apologise.output}|${step.apologise.status}"
      run_if_skipped: true
slack: {commands: [/tour]}
"""
FRAGILE = """
name: fragile
agent_type: coordinator
execution_mode: collaborative
llm_config:
  provider: scripted
  model_id: script
  script:
    - when: "step 'breaks' failed"
      say: '{"steps": [{"id": "instead", "agent": "worker", "input": "safe way after ${step.first.output}"}]}'
collaboration:
  members: [worker]
  plan:
    - {id: first, agent: worker, input: "go"}
    - {id: breaks, agent: worker, input: "boom ${step.first.output}", on_failure: revise}
"""


async def team(callboard: Callboard) -> None:
    for name, text in (("scout", SCOUT), ("worker", WORKER), ("tour", TOUR), ("fragile", FRAGILE)):
        assert (await callboard.write(name, text))["warnings"] == []


def statuses(shown: dict[str, Any]) -> dict[str, str]:
    return {step["id"]: step["status"] for step in shown["plan"]["steps"]}


@pytest.mark.slow
async def test_flow_plan_from_a_file(callboard: Callboard) -> None:
    await team(callboard)
    task = await callboard.invoke("tour", "all of them")
    result = await callboard.ended(task)
    assert result["status"] == "succeeded", result
    shown = await callboard.get(f"runs/{task}")
    assert statuses(shown) == {
        "list": "succeeded", "visit": "succeeded", "apologise": "skipped", "write": "succeeded", "end": "succeeded",
    }  # fmt: skip
    for part in ("see Oslo", "see Rome", "see Lima", "polished", "|null|skipped>"):
        assert part in result["output"]
    assert sorted(step["step_id"] for step in shown["steps"]) == [
        "end", "list", "visit[0]", "visit[1]", "visit[2]", "write",
    ]  # fmt: skip
    (within,) = [step for step in shown["steps"] if step["step_id"] == "write"]
    assert within["agent"] == "tour"
    inner = await callboard.get(f"runs/{within['run_id']}")
    assert [step["step_id"] for step in inner["steps"]] == ["draft", "polish"]

    story = await callboard.get(f"traces/{result['trace_id']}")
    plans = [node for node in _nodes(story["tree"]) if node["kind"] == "plan"]
    assert {(node["name"], node["status"]) for node in plans} >= {("apologise", "skipped")}
    assert any("visit: worker" in node["name"] for node in plans)


@pytest.mark.slow
async def test_a_false_condition_skips_what_builds_on_it(callboard: Callboard) -> None:
    await team(callboard)
    task = await callboard.invoke("tour", "nothing")
    result = await callboard.ended(task)
    shown = await callboard.get(f"runs/{task}")
    assert statuses(shown) == {
        "list": "succeeded", "visit": "skipped", "apologise": "succeeded", "write": "skipped", "end": "succeeded",
    }  # fmt: skip
    assert result["output"] == "did <null|did <sorry>|succeeded>"


@pytest.mark.slow
async def test_a_plan_is_changed_after_a_failed_step(callboard: Callboard) -> None:
    await team(callboard)
    task = await callboard.invoke("fragile", "x")
    result = await callboard.ended(task)
    assert (result["status"], result["output"]) == ("succeeded", "did <safe way after did <go>>")
    shown = await callboard.get(f"runs/{task}")
    assert statuses(shown) == {"first": "succeeded", "instead": "succeeded"}
    (change,) = shown["plan"]["revisions"]
    assert (change["revision"], "step 'breaks' failed" in change["reason"]) == (1, True)
    assert [step["step_id"] for step in shown["steps"]] == ["first", "breaks", "instead"]
    story = await callboard.get(f"traces/{result['trace_id']}")
    changed = [node for node in _nodes(story["tree"]) if node["kind"] == "plan" and node["status"] == "changed"]
    assert "instead: worker" in changed[0]["name"]


@pytest.mark.slow
async def test_a_plan_is_done_once_more_from_a_step_with_another_input(callboard: Callboard) -> None:
    await team(callboard)
    task = await callboard.invoke("tour", "all of them")
    first = await callboard.ended(task)
    before = await callboard.get(f"runs/{task}")
    again = await callboard.post(f"runs/{task}/rerun", from_step="write", input="only ${step.list.output.cities.1}")
    assert again["rerun_of"] == task
    second = await callboard.ended(again["task_id"])
    assert second["status"] == "succeeded", second
    assert "draft of only Rome" in second["output"]
    shown = await callboard.get(f"runs/{again['task_id']}")
    assert sorted(step["step_id"] for step in shown["steps"]) == ["end", "write"]
    assert (shown["origin_run_id"], shown["trace_id"]) == (task, first["trace_id"])
    assert statuses(shown)["visit"] == "succeeded"
    after = await callboard.get(f"runs/{task}")
    assert (after["output"], after["plan"], after["steps"]) == (before["output"], before["plan"], before["steps"])

    for wrong, status in (
        ({"from_step": "nowhere"}, 404),
        ({"from_step": "write", "input": "${step.end.output}"}, 422),
    ):
        refused = await callboard.call("POST", f"/api/v1/runs/{task}/rerun", json=wrong)
        assert refused.status_code == status, refused.text
    step = before["steps"][0]["run_id"]
    assert (await callboard.call("POST", f"/api/v1/runs/{step}/rerun", json={"from_step": "a"})).status_code == 409


def _nodes(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for node in tree for each in (node, *_nodes(node["children"]))]
