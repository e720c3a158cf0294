"""Plans: which steps go on, what their inputs are, what it all comes to, and which plans a model may make (R21)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.aggregation import aggregate_results
from callboard.agents.mapping import referred_steps, resolve
from callboard.agents.plan_runner import absorbed, next_move, outputs, started
from callboard.agents.planning_agent import ATTEMPTS, PlanningAgent, read_plan
from callboard.errors import InvalidInputError
from callboard.llm.provider import PlanMember
from callboard.messaging.events import Actor
from callboard.state.plans import Plan, PlanRunState, PlanStep, StepState, StepStatus
from callboard.state.runs import Lane, Run, RunError, RunResult, RunStatus, Usage
from tests.unit.agents.engine_parts import ModelOf, says

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A = PlanStep(id="a", agent="x", input="${input}")
B = PlanStep(id="b", agent="y", input="${step.a.output}", depends_on=("a",))
C = PlanStep(id="c", agent="x", input="fixed")
PLAN = Plan(goal="g", origin="file", steps=(A, B, C))
EMPTY = PlanRunState(run_id="p")


def child(run_id: str, status: RunStatus, output: Any = None, error: RunError | None = None) -> RunResult:
    run = Run(
        seq=1, run_id=run_id, tenant="default", event_id="e", trace_id="t", agent="x", agent_version=1, catalog=1,
        mode="autonomous", lane=Lane.INTERACTIVE, status=status, attempt=1, failures=0, max_attempts=3, context_no=0,
        lease_losses=0, fencing=1, conversation_id=None, order_key=None, parent_run_id="p", root_run_id="p",
        step_id="a", depth=1, hops=0, timeout_seconds=60, actor=Actor(kind="user", id="u"), reply_to=None,
        waiting_for=None, cancel_requested=False, created_at=NOW, available_at=NOW, started_at=None, finished_at=None,
        cost_usd=0.0, usage=Usage(),
    )  # fmt: skip
    return RunResult(run=run, input="i", output=output, error=error)


class TestMoves:
    def test_what_needs_nothing_begins_together(self) -> None:
        move = next_move(PLAN, EMPTY, ())
        assert [step.id for step in move.start] == ["a", "c"]
        state = started(move.state, {"a": "ra", "c": "rc"})
        assert next_move(PLAN, state, ()).start == ()

    def test_a_step_begins_when_all_that_it_builds_on_is_there(self) -> None:
        state = started(EMPTY, {"a": "ra", "c": "rc"})
        move = next_move(PLAN, state, [child("ra", RunStatus.SUCCEEDED, "out"), child("rc", RunStatus.RUNNING)])
        assert [step.id for step in move.start] == ["b"]
        assert outputs(move.state) == {"a": "out"}
        assert absorbed(move.state) == {"ra"}

    def test_a_reference_is_a_dependency_too(self) -> None:
        loose = Plan(goal="g", origin="file", steps=(A, replace(B, depends_on=())))
        assert [step.id for step in next_move(loose, EMPTY, ()).start] == ["a"]

    @pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT])
    def test_a_step_that_did_not_succeed_stops_the_plan(self, status: RunStatus) -> None:
        state = started(EMPTY, {"a": "ra"})
        error = RunError(code="x", message="it broke") if status is RunStatus.FAILED else None
        move = next_move(PLAN, state, [child("ra", status, error=error)])
        assert (move.failed, move.start, move.state.status) == ("a", (), "failed")
        assert move.state.steps["a"].error == ("it broke" if error else f"the run ended as {status}")

    def test_a_plan_is_finished_with_its_last_step(self) -> None:
        steps = {step.id: StepState(status=StepStatus.SUCCEEDED, run_id=step.id, output=1) for step in PLAN.steps}
        move = next_move(PLAN, replace(EMPTY, steps=steps), ())
        assert (move.finished, move.state.status) == (True, "succeeded")

    @given(st.data())
    def test_any_order_of_endings_comes_to_the_end_with_every_step_once(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, 7))
        steps = tuple(
            PlanStep(
                id=f"s{n}",
                agent="x",
                input="i",
                depends_on=tuple(f"s{m}" for m in range(n) if data.draw(st.booleans())),
            )
            for n in range(count)
        )
        plan, state = Plan(goal="g", origin="file", steps=steps), EMPTY
        begun: list[str] = []
        running: list[str] = []
        while True:
            move = next_move(plan, state, [child(run, RunStatus.SUCCEEDED, run) for run in begun if run not in running])
            if move.finished:
                break
            for step in move.start:
                assert set(step.depends_on) <= set(outputs(move.state))
                begun.append(step.id)
                running.append(step.id)
            state = started(move.state, {step.id: step.id for step in move.start})
            assert running, "nothing runs and nothing can begin"
            running.remove(data.draw(st.sampled_from(running)))
        assert sorted(begun) == sorted(step.id for step in steps)


class TestMapping:
    @pytest.mark.parametrize(
        ("template", "value"),
        [
            ("${input}", {"city": {"name": "Köln"}}),
            ("${input.city.name}", "Köln"),
            ("${workflow.input.city.name}", "Köln"),
            ("${step.a.output}", [1, 2]),
            ("${b-1.output.deep.x}", None),
            ("In ${input.city.name}: ${step.a.output}", "In Köln: [1,2]"),
            ({"q": ["${step.a.output}", 3]}, {"q": [[1, 2], 3]}),
            ("no reference, $input, ${, {}", "no reference, $input, ${, {}"),
            (7, 7),
        ],
    )
    def test_references_are_filled_in(self, template: Any, value: Any) -> None:
        given_input = {"city": {"name": "Köln"}}
        assert resolve(template, given_input, {"a": [1, 2], "b-1": {"deep": {"x": None}}}) == value

    @pytest.mark.parametrize(
        "template", ["${step.z.output}", "${input.nothing}", "${step.a.output.b}", "${env:SECRET}", "${other}"]
    )
    def test_a_reference_that_leads_nowhere_is_refused_by_name(self, template: str) -> None:
        with pytest.raises(InvalidInputError) as refused:
            resolve(f"text {template}", {"a": 1}, {"a": "text"})
        assert template in refused.value.message
        assert refused.value.code == "bad_reference"

    @given(st.text(), st.text())
    def test_H15_what_was_filled_in_is_never_looked_at_again(self, before: str, value: str) -> None:
        hostile = "${step.secret.output}" + value + "${input}"
        plain = before.replace("$", "")
        assert resolve(plain + "${input}", hostile, {"secret": "s"}) == (plain + hostile if plain else hostile)

    @given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner), max_leaves=8))
    def test_a_text_that_is_one_reference_takes_the_value_as_it_is(self, value: Any) -> None:
        assert resolve("${step.a.output}", None, {"a": value}) == value
        assert resolve(["${input}"], value, {}) == [value]

    def test_the_steps_that_a_template_refers_to(self) -> None:
        assert list(referred_steps({"a": ["${step.x.output}", "${y.output.z} ${input.output}"]})) == ["x", "y"]


class TestAggregation:
    def test_the_one_last_output_is_the_result_as_it_is(self) -> None:
        plan = Plan(goal="g", origin="file", steps=(A, B))
        assert aggregate_results(plan, {"a": "first", "b": {"n": 1}}) == {"n": 1}

    def test_several_last_outputs_stand_under_their_names_in_the_plan_s_order(self) -> None:
        assert aggregate_results(PLAN, {"a": "1", "b": "two", "c": {"n": 3}}) == (
            '*b* (y)\ntwo\n\n*c* (x)\n{\n  "n": 3\n}'
        )


def plan_json(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": list(steps)})


GOOD = {"id": "one", "agent": "x", "input": "do ${input}"}


class TestPlanner:
    members = (PlanMember(name="x", description="d", capabilities=("c",)), PlanMember(name="y", description="e"))

    async def test_a_usable_answer_is_the_plan(self) -> None:
        model = ModelOf(says(f"Here you are:\n```json\n{plan_json(GOOD, {**GOOD, 'id': 'two'})}\n```"))
        plan = await PlanningAgent(model).create_plan("win", self.members, max_steps=3)
        assert (plan.goal, plan.origin, [step.id for step in plan.steps]) == ("win", "planner", ["one", "two"])
        system, user = model.requests[0].messages
        assert "- x: d (c)" in system.content
        assert user.content == "win"
        assert model.requests[0].plan is not None

    async def test_a_bad_answer_is_tried_again_with_its_problems(self) -> None:
        model = ModelOf(says("no json"), says(plan_json({**GOOD, "agent": "z"})), says(plan_json(GOOD)))
        plan = await PlanningAgent(model).create_plan("g", self.members, max_steps=3)
        assert [step.id for step in plan.steps] == ["one"]
        assert "not one JSON object" in model.requests[1].messages[-1].content
        assert "'z' is none of x, y" in model.requests[2].messages[-1].content

    async def test_three_bad_answers_are_a_failure_that_says_why(self) -> None:
        model = ModelOf(*(says(plan_json()) for _ in range(ATTEMPTS)))
        with pytest.raises(InvalidInputError, match="steps") as refused:
            await PlanningAgent(model).create_plan("g", self.members, max_steps=3)
        assert refused.value.code == "bad_plan"
        assert len(model.requests) == ATTEMPTS

    @pytest.mark.parametrize(
        ("steps", "problem"),
        [
            ([GOOD, GOOD], "used twice"),
            ([GOOD, {**GOOD, "id": "b"}, {**GOOD, "id": "c"}, {**GOOD, "id": "d"}], "more than the 3"),
            ([{**GOOD, "depends_on": ["z"]}], "'z', which is no step"),
            ([{**GOOD, "input": "${step.z.output}"}], "without depending on it"),
            ([{**GOOD, "depends_on": ["one"]}], "wait for each other"),
            ([{**GOOD, "depends_on": ["b"]}, {**GOOD, "id": "b", "depends_on": ["one"]}], "wait for each other"),
            ([{**GOOD, "id": "../x"}], "steps.0.id"),
            ([{"id": "one"}], "steps.0.agent"),
            ("text", "steps"),
        ],
    )
    def test_what_cannot_be_carried_out_is_refused(self, steps: Any, problem: str) -> None:
        plan, problems = read_plan(json.dumps({"steps": steps}), "g", {"x", "y"}, 3)
        assert plan is None
        assert problem in "; ".join(problems)

    @pytest.mark.parametrize("answer", ["", "{", "}{", "[]", "null", "{" * 5000, '{"steps": ' + "[" * 3000])
    def test_G5_garbage_is_refused_without_a_crash(self, answer: str) -> None:
        plan, problems = read_plan(answer, "g", {"x"}, 3)
        assert plan is None
        assert problems

    @given(st.text())
    def test_G5_any_text_is_a_plan_or_a_list_of_problems(self, answer: str) -> None:
        plan, problems = read_plan(answer, "g", {"x"}, 3)
        assert (plan is None) is bool(problems)
