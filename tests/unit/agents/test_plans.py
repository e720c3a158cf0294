"""Plans: which steps go on, what their inputs are, what it all comes to, and which plans a model may make (R21)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.aggregation import (
    NOTHING_DONE,
    SOURCE_CHARS,
    aggregate_results,
    with_aggregation,
    without_aggregation,
)
from callboard.agents.engine import Asked, Failed, OverBudget, Paused
from callboard.agents.mapping import referred_steps, resolve
from callboard.agents.plan_runner import absorbed, next_move, outputs, started
from callboard.agents.planner_seat import PlannerSeat
from callboard.agents.planning_agent import ATTEMPTS, Planned, PlanningAgent, Setback, read_plan
from callboard.clock import ManualClock
from callboard.errors import InvalidInputError
from callboard.llm.errors import LLMServiceUnavailableError
from callboard.llm.provider import LLMConfig, LLMRequest, LLMResponse, PlanMember
from callboard.messaging.events import Actor
from callboard.state.plans import Plan, PlanRunState, PlanStep, StepState, StepStatus
from callboard.state.runs import Lane, Run, RunError, RunResult, RunStatus, Usage
from tests.unit.agents.engine_parts import ModelOf, says
from tests.unit.agents.memory_journal import KilledError, Ledger, MemoryJournal

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
        assert [begin.path for begin in move.start] == ["a", "c"]
        state = started(move.state, {"a": "ra", "c": "rc"})
        assert next_move(PLAN, state, ()).start == ()

    def test_a_step_begins_when_all_that_it_builds_on_is_there(self) -> None:
        state = started(EMPTY, {"a": "ra", "c": "rc"})
        move = next_move(PLAN, state, [child("ra", RunStatus.SUCCEEDED, "out"), child("rc", RunStatus.RUNNING)])
        assert [begin.path for begin in move.start] == ["b"]
        assert outputs(move.state) == {"a": "out"}
        assert absorbed(move.state) == {"ra"}

    def test_a_reference_is_a_dependency_too(self) -> None:
        loose = Plan(goal="g", origin="file", steps=(A, replace(B, depends_on=())))
        assert [begin.path for begin in next_move(loose, EMPTY, ()).start] == ["a"]

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
            for begin in move.start:
                assert set(begin.step.depends_on) <= set(outputs(move.state))
                begun.append(begin.path)
                running.append(begin.path)
            state = started(move.state, {begin.path: begin.path for begin in move.start})
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


def all_done(plan: Plan, given: dict[str, Any]) -> PlanRunState:
    steps = {
        name: StepState(status=StepStatus.SUCCEEDED, run_id=f"r{name}", output=value) for name, value in given.items()
    }
    return replace(EMPTY, steps=steps)


class TestAggregation:
    def test_the_one_last_output_is_the_result_as_it_is(self) -> None:
        plan = Plan(goal="g", origin="file", steps=(A, B))
        assert aggregate_results(plan, all_done(plan, {"a": "first", "b": {"n": 1}})) == {"n": 1}

    def test_several_last_outputs_stand_under_their_names_with_their_sources(self) -> None:
        result = aggregate_results(PLAN, all_done(PLAN, {"a": "1", "b": "two", "c": {"n": 3}}))
        assert result == {
            "answer": '*b* (y)\ntwo\n\n*c* (x)\n{\n  "n": 3\n}',
            "sources": [
                {"step": "b", "agent": "y", "run_id": "rb", "output": "two"},
                {"step": "c", "agent": "x", "run_id": "rc", "output": {"n": 3}},
            ],
        }

    def test_the_file_may_want_only_the_last_or_every_output(self) -> None:
        state = all_done(PLAN, {"a": "1", "b": "2", "c": "3"})
        assert aggregate_results(replace(PLAN, aggregate="last"), state) == "3"
        every = aggregate_results(replace(PLAN, aggregate="all"), state)
        assert [source["step"] for source in every["sources"]] == ["a", "b", "c"]

    def test_a_member_may_put_the_last_outputs_together(self) -> None:
        plan = with_aggregation(PLAN, "z")
        (together,) = [step for step in plan.steps if step.agent == "z"]
        assert together.input == {
            "goal": "${input}",
            "results": {"b": "${step.b.output}", "c": "${step.c.output}"},
        }
        state = all_done(plan, {"a": "1", "b": "2", "c": "3", together.id: "so: 2 and 3"})
        result = aggregate_results(plan, state)
        assert (result["answer"], [source["step"] for source in result["sources"]]) == ("so: 2 and 3", ["b", "c"])
        assert without_aggregation(plan) == PLAN

    def test_a_step_that_was_skipped_says_nothing(self) -> None:
        steps = {**all_done(PLAN, {"a": "1"}).steps, "b": StepState(status=StepStatus.SKIPPED)}
        plan = Plan(goal="g", origin="file", steps=(A, B))
        assert aggregate_results(plan, replace(EMPTY, steps=steps)) == "1"
        assert aggregate_results(plan, EMPTY) == NOTHING_DONE

    def test_a_long_output_stands_among_the_sources_in_part(self) -> None:
        result = aggregate_results(PLAN, all_done(PLAN, {"a": "1", "b": "x" * 100_000, "c": "3"}))
        assert len(result["sources"][0]["output"]) == SOURCE_CHARS
        assert "x" * 100_000 in result["answer"]


def plan_json(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": list(steps)})


GOOD = {"id": "one", "agent": "x", "input": "do ${input}"}


def killed(_request: LLMRequest) -> LLMResponse:
    raise KilledError


def replace_last(ledger: Ledger) -> Ledger:
    """As if the third answer had been rubbish too."""
    return Ledger(messages=[*ledger.messages, *ledger.messages[-2:]])


def seat(model: ModelOf, journal: MemoryJournal | None = None) -> PlannerSeat:
    return PlannerSeat(
        config=LLMConfig(provider="test", model_id="m"),
        provider=model,
        journal=journal or MemoryJournal(Ledger()),
        clock=ManualClock(),
        deadline=None,
        answers={},
    )


class TestPlanner:
    members = (PlanMember(name="x", description="d", capabilities=("c",)), PlanMember(name="y", description="e"))

    async def plan(self, model: ModelOf, journal: MemoryJournal | None = None, goal: str = "win") -> Any:
        return await PlanningAgent(seat(model, journal)).create_plan(goal, self.members, max_steps=3)

    async def test_a_usable_answer_is_the_plan(self) -> None:
        model = ModelOf(says(f"Here you are:\n```json\n{plan_json(GOOD, {**GOOD, 'id': 'two'})}\n```"))
        made = await self.plan(model)
        assert isinstance(made, Planned)
        assert (made.plan.goal, made.plan.origin) == ("win", "planner")
        assert [step.id for step in made.plan.steps] == ["one", "two"]
        system, user = model.requests[0].messages
        assert "- x: d (c)" in system.content
        assert user.content == "win"
        assert model.requests[0].plan is not None

    async def test_a_bad_answer_is_tried_again_with_its_problems(self) -> None:
        model = ModelOf(says("no json"), says(plan_json({**GOOD, "agent": "z"})), says(plan_json(GOOD)))
        made = await self.plan(model)
        assert [step.id for step in made.plan.steps] == ["one"]
        assert "not one JSON object" in model.requests[1].messages[-1].content
        assert "'z' is none of x, y" in model.requests[2].messages[-1].content

    async def test_G1_three_bad_answers_are_a_failure_that_says_why(self) -> None:
        model = ModelOf(*(says(plan_json()) for _ in range(ATTEMPTS)))
        failed = await self.plan(model)
        assert isinstance(failed, Failed)
        assert (failed.code, "steps" in failed.message, failed.retryable) == ("bad_plan", True, False)
        assert len(model.requests) == ATTEMPTS

    async def test_each_call_is_reserved_before_it_and_counted_after_it(self) -> None:
        ledger = Ledger()
        journal = MemoryJournal(ledger)
        made = await self.plan(ModelOf(says("rubbish"), says(plan_json(GOOD))), journal)
        assert [call for call, _ in journal.reserved] == [0, 1]
        assert (ledger.usage.model_calls, made.usage.model_calls) == (1, 1)
        assert [note.kind for note in journal.notes] == ["model_call", "plan_refused"]
        assert [(note.kind, note.data["purpose"]) for note in made.notes] == [("model_call", "plan")]

    async def test_G4_a_plan_that_the_budget_does_not_allow_is_asked_about(self) -> None:
        journal = MemoryJournal(Ledger())
        journal.reservation = OverBudget(scope="run", name="r", limit_usd=1, spent_usd=1, needed_usd=0.5)
        model = ModelOf(says(plan_json(GOOD)))
        asked = await self.plan(model, journal)
        assert isinstance(asked, Asked)
        assert asked.question.purpose == "budget"
        assert model.requests == []

    async def test_G2_a_planner_whose_provider_is_down_waits(self) -> None:
        paused = await self.plan(ModelOf(LLMServiceUnavailableError("overloaded")))
        assert isinstance(paused, Paused)

    async def test_a_killed_planner_goes_on_after_its_last_answer(self) -> None:
        ledger = Ledger()
        first = ModelOf(says("rubbish"), killed)
        with pytest.raises(KilledError):
            await self.plan(first, MemoryJournal(ledger))
        second = ModelOf(says("more rubbish"), says(plan_json(GOOD)))
        made = await self.plan(second, MemoryJournal(ledger))
        assert isinstance(made, Planned)
        assert [message.content[:24] for message in second.requests[0].messages[2:]] == [
            "rubbish",
            "This plan cannot be used",
        ]
        again = await self.plan(ModelOf(), MemoryJournal(replace_last(ledger)))
        assert isinstance(again, Failed)

    async def test_another_plan_keeps_what_is_done(self) -> None:
        model = ModelOf(says(plan_json({**GOOD, "id": "a"}, {**GOOD, "id": "d", "input": "${step.a.output}"})))
        setback = Setback(step="b", error="no way", done={"a": "found"}, kept=(A,), open=("c",))
        made = await PlanningAgent(seat(model)).revise_plan(PLAN, setback, self.members, max_steps=3)
        assert isinstance(made, Planned)
        assert made.plan.steps[0] is A
        assert [step.id for step in made.plan.steps] == ["a", "d"]
        assert (made.plan.revision, made.plan.goal) == (1, "g")
        told = model.requests[0].messages[-1].content
        assert all(part in told for part in ("'b' failed: no way", "- a: found", "Not done: c"))

    async def test_a_changed_plan_without_anything_to_do_is_refused(self) -> None:
        model = ModelOf(*(says(plan_json({**GOOD, "id": "a"})) for _ in range(ATTEMPTS)))
        setback = Setback(step="b", error="no", done={}, kept=(A,))
        failed = await PlanningAgent(seat(model)).revise_plan(PLAN, setback, self.members, max_steps=3)
        assert isinstance(failed, Failed)
        assert "done already" in failed.message

    @pytest.mark.parametrize(
        ("steps", "problem"),
        [
            ([GOOD, GOOD], "used twice"),
            ([GOOD, {**GOOD, "id": "b"}, {**GOOD, "id": "c"}, {**GOOD, "id": "d"}], "more than the 3"),
            ([{**GOOD, "depends_on": ["z"]}], "'z', which is no step"),
            ([{**GOOD, "input": "${step.z.output}"}], "uses the output of 'z', which is no step"),
            ([{**GOOD, "depends_on": ["one"]}], "wait for each other"),
            ([{**GOOD, "depends_on": ["b"]}, {**GOOD, "id": "b", "depends_on": ["one"]}], "wait for each other"),
            ([{**GOOD, "id": "../x"}], "steps.0.id"),
            ([{"id": "one"}], "agent: Field required"),
            ([{**GOOD, "when": "rm -rf /"}], "not understood"),
            ([{**GOOD, "input": "${env:SECRET}"}], "${env:SECRET} refers to nothing"),
            ([{**GOOD, "for_each": ["i"] * 101}], "100 are allowed"),
            ([{**GOOD, "input": "\0"}], "NUL"),
            ([{"id": "p", "for_each": [1], "plan": [{**GOOD, "for_each": [2]}]}], "no list of its own"),
            ([{**GOOD, "id": "p", "plan": [GOOD, GOOD]}], "used twice"),
            ([{"id": "p", "plan": [{**GOOD, "id": str(n)} for n in range(3)]}], "more than the 3"),
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
