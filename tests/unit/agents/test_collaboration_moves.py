"""Any plan with conditions, lists, failures and skips comes to an end, each step at most once and in order (R21)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.mapping import MAX_FILLED_BYTES, Scope, fill
from callboard.agents.plan_runner import NextMove, absorbed, next_move, runs_under_way, started
from callboard.errors import InvalidInputError
from callboard.messaging.events import Actor
from callboard.state.plan_rerun import plan_from_step
from callboard.state.plans import MAX_ITEMS, Plan, PlanRunState, PlanStep, StepStatus
from callboard.state.runs import Lane, Run, RunError, RunResult, RunStatus, Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = PlanRunState(run_id="p")


def child(run_id: str, output: Any = None, error: str | None = None) -> RunResult:
    status = RunStatus.SUCCEEDED if error is None else RunStatus.FAILED
    run = Run(
        seq=1, run_id=run_id, tenant="default", event_id="e", trace_id="t", agent="x", agent_version=1, catalog=1,
        mode="autonomous", lane=Lane.INTERACTIVE, status=status, attempt=1, failures=0, max_attempts=3, context_no=0,
        lease_losses=0, fencing=1, conversation_id=None, order_key=None, parent_run_id="p", root_run_id="p",
        step_id="a", depth=1, hops=0, timeout_seconds=60, actor=Actor(kind="user", id="u"), reply_to=None,
        waiting_for=None, cancel_requested=False, created_at=NOW, available_at=NOW, started_at=None, finished_at=None,
        cost_usd=0.0, usage=Usage(),
    )  # fmt: skip
    return RunResult(
        run=run, input="i", output=output, error=None if error is None else RunError(code="x", message=error)
    )


def plan_of(*steps: PlanStep) -> Plan:
    return Plan(goal="g", origin="file", steps=steps)


def step(name: str, **parts: Any) -> PlanStep:
    return PlanStep(**{"id": name, "agent": "x", "input": "i", **parts})


def going(plan: Plan, move: NextMove, **ends: Any) -> NextMove:
    """The move after all that was to begin has begun and these (place with __ for brackets) have ended."""
    state = started(move.state, {begin.path: begin.path for begin in move.start})
    children = [
        child(path, error=str(end)) if isinstance(end, Exception) else child(path, end)
        for path, end in ((name.replace("__", "[") + "]" if "__" in name else name, end) for name, end in ends.items())
    ]
    return next_move(plan, state, children, "goal", revisions=1)


class TestConditions:
    def test_a_skip_goes_on_to_what_depends_on_it(self) -> None:
        plan = plan_of(
            step("a", when="${input} == 'no'"),
            step("b", depends_on=("a",)),
            step("c", depends_on=("b",), run_if_skipped=True, input="${step.b.status}"),
        )
        move = next_move(plan, EMPTY, (), "goal")
        assert [(begin.path, begin.input) for begin in move.start] == [("c", "skipped")]
        assert move.state.steps["b"].error == "'a' was skipped"

    def test_a_plan_of_skipped_steps_is_finished(self) -> None:
        assert next_move(plan_of(step("a", when="false")), EMPTY, ()).finished

    def test_a_condition_that_cannot_be_decided_fails_its_step(self) -> None:
        move = next_move(plan_of(step("a", when="${input} < 3")), EMPTY, (), ["list"])
        assert move.failed == "a"
        assert "no order" in (move.state.steps["a"].error or "")

    def test_what_failed_and_may_is_null_for_what_comes_after(self) -> None:
        plan = plan_of(step("a", on_failure="continue"), step("b", input=["${step.a.output}", "${step.a.error}"]))
        move = going(plan, next_move(plan, EMPTY, ()), a=ValueError("broke"))
        assert [(begin.path, begin.input) for begin in move.start] == [("b", [None, "broke"])]

    def test_a_plan_whose_every_step_failed_has_failed(self) -> None:
        plan = plan_of(step("a", on_failure="continue"))
        assert going(plan, next_move(plan, EMPTY, ()), a=ValueError("broke")).failed == "a"


class TestLists:
    plan = plan_of(
        step("each", for_each="${input.list}", item="one", input="${one.n}!", max_parallel=2),
        step("b", depends_on=("each",)),
    )

    def begin(self, count: int) -> NextMove:
        return next_move(self.plan, EMPTY, (), {"list": [{"n": n} for n in range(count)]})

    def again(self, move: NextMove, *children: RunResult, count: int = 3) -> NextMove:
        state = started(move.state, {begin.path: begin.path for begin in move.start})
        return next_move(self.plan, state, children, {"list": [{"n": n} for n in range(count)]})

    def test_as_many_as_may_run_at_once_begin(self) -> None:
        move = self.begin(3)
        assert [(begin.path, begin.input) for begin in move.start] == [("each[0]", "0!"), ("each[1]", "1!")]
        move = self.again(move, child("each[1]", "one"))
        assert [begin.path for begin in move.start] == ["each[2]"]
        assert absorbed(move.state) == {"each[1]"}
        move = self.again(move, child("each[0]", "zero"), child("each[2]", "two"))
        assert move.state.steps["each"].output == ["zero", "one", "two"]
        assert [begin.path for begin in move.start] == ["b"]

    def test_an_empty_list_is_done_at_once(self) -> None:
        move = self.begin(0)
        assert (move.state.steps["each"].output, [begin.path for begin in move.start]) == ([], ["b"])

    def test_H15_a_list_that_is_too_long_or_none_fails_the_step(self) -> None:
        assert "101 items" in (self.begin(MAX_ITEMS + 1).state.steps["each"].error or "")
        move = next_move(self.plan, EMPTY, (), {"list": "no list"})
        assert "gives no list" in (move.state.steps["each"].error or "")

    def test_a_text_that_is_a_list_counts_as_one(self) -> None:
        move = next_move(self.plan, EMPTY, (), {"list": '[{"n": 5}]'})
        assert [begin.input for begin in move.start] == ["5!"]

    def test_an_item_that_fails_ends_the_step_or_leaves_a_hole(self) -> None:
        move = self.again(self.begin(2), child("each[0]", error="broke"), count=2)
        assert (move.failed, move.state.steps["each"].error) == ("each", "failed at item 0: broke")
        self.plan = plan_of(replace(self.plan.steps[0], on_failure="continue"))
        move = self.again(self.begin(2), child("each[0]", error="broke"), child("each[1]", "fine"), count=2)
        assert (move.finished, move.state.steps["each"].output) == (True, [None, "fine"])

    def test_an_item_whose_input_cannot_be_made_fails_alone(self) -> None:
        self.plan = plan_of(replace(self.plan.steps[0], on_failure="continue"))
        move = next_move(self.plan, EMPTY, (), {"list": [{}, {"n": 1}]})
        assert [begin.path for begin in move.start] == ["each[1]"]
        assert "has no 'n'" in (move.state.steps["each"].items or ())[0].error  # type: ignore[operator]


class TestRevisions:
    def test_what_is_under_way_ends_before_the_plan_is_changed(self) -> None:
        plan = plan_of(step("a", on_failure="revise"), step("b"), step("c", depends_on=("b",)))
        move = going(plan, next_move(plan, EMPTY, (), revisions=1), a=ValueError("no"))
        assert (move.revise, move.start, move.failed) == (None, (), None)
        move = next_move(plan, move.state, [child("b", "done")], revisions=1)
        assert (move.revise, move.start) == ("a", ())

    def test_a_plan_that_was_changed_often_enough_fails(self) -> None:
        plan = replace(plan_of(step("a", on_failure="revise")), revision=1)
        assert going(plan, next_move(plan, EMPTY, (), revisions=1), a=ValueError("no")).failed == "a"


class TestBounds:
    @pytest.mark.parametrize("template", ["${input}" * 3, ["${input}"] * 3, {str(n): "x${input}" for n in range(3)}])
    def test_H15_what_references_bring_is_bounded(self, template: Any) -> None:
        with pytest.raises(InvalidInputError) as refused:
            fill(template, Scope(given="x" * (MAX_FILLED_BYTES // 2)))
        assert refused.value.code == "input_too_large"

    def test_H15_a_template_that_is_nested_beyond_bounds_is_refused(self) -> None:
        deep: Any = "x"
        for _ in range(100):
            deep = [deep]
        with pytest.raises(InvalidInputError, match="deep"):
            fill(deep, Scope())


LISTS: st.SearchStrategy[Any] = st.sampled_from([None, None, "${input.list}", [], [1], "${input.go}"])
WHENS: st.SearchStrategy[Any] = st.sampled_from([None, None, "true", "false", "${input.go}", "${input} < 3"])
RULES: st.SearchStrategy[Any] = st.sampled_from([None, "stop", "continue", "continue", "revise"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = [f"s{n}" for n in range(draw(st.integers(1, 7)))]
    steps = []
    for n, name in enumerate(names):
        before = draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else []
        parts: dict[str, Any] = {"depends_on": tuple(before)}
        refers = draw(st.booleans())
        if before and refers:
            parts["input"] = f"${{step.{before[0]}.output}}"
        parts |= {
            "when": draw(WHENS),
            "run_if_skipped": draw(st.booleans()),
            "on_failure": draw(RULES),
            "for_each": draw(LISTS),
            "max_parallel": draw(st.integers(1, 3)),
        }
        steps.append(step(name, **parts))
    return plan_of(*steps)


@given(plans(), st.booleans(), st.lists(st.integers(), max_size=4), st.integers(0, 1), st.data())
def test_any_plan_ends_with_every_step_at_most_once_and_in_order(
    plan: Plan, go: bool, items: list[int], revisions: int, data: st.DataObject
) -> None:
    state, begun, ended = EMPTY, [], {}  # type: ignore[var-annotated]
    running: list[str] = []
    for _ in range(100):
        move = next_move(plan, state, list(ended.values()), {"go": go, "list": items}, revisions=revisions)
        for begin in move.start:
            assert begin.path not in begun, "begun twice"
            assert all(move.state.steps[name].status.ended for name in begin.step.prerequisites), "out of order"
            begun.append(begin.path)
            running.append(begin.path)
        assert absorbed(move.state) == set(ended), "what has ended is known to have"
        if move.finished or move.failed or move.revise:
            break
        state = started(move.state, {begin.path: begin.path for begin in move.start})
        for each in plan.steps:
            parts = state.steps[each.id].items or ()
            assert sum(part.status is StepStatus.RUNNING for part in parts) <= each.max_parallel
        assert runs_under_way(state), "nothing runs and nothing can begin"
        path = data.draw(st.sampled_from(running))
        running.remove(path)
        ended[path] = child(path, error="broke") if data.draw(st.integers(0, 3)) == 0 else child(path, path)
    else:
        raise AssertionError("the plan does not end")
    if move.finished:
        assert all(each.status.ended for each in move.state.steps.values())
        assert not running
    if move.revise:
        assert (revisions, running) == (1, [])


@given(plans(), st.data())
def test_a_rerun_does_the_step_and_what_depends_on_it_anew_and_nothing_else(plan: Plan, data: st.DataObject) -> None:
    state = EMPTY
    ended: dict[str, RunResult] = {}
    for _ in range(100):
        move = next_move(plan, state, list(ended.values()), {"go": True, "list": [1]})
        state = started(move.state, {begin.path: begin.path for begin in move.start})
        if move.finished or move.failed:
            break
        ended |= {begin.path: child(begin.path, begin.path) for begin in move.start}
    chosen = data.draw(st.sampled_from([each.id for each in plan.steps]))
    again, kept = plan_from_step(plan, state, chosen, "new", edited="edited")
    assert again.step(chosen).input == "edited"  # type: ignore[union-attr]  # it was chosen from them
    assert chosen not in kept.steps
    for each in again.steps:
        if each.id in kept.steps:
            assert kept.steps[each.id] == state.steps[each.id]
            assert chosen not in each.prerequisites
        if each.prerequisites - set(kept.steps) - {chosen} and each.id in kept.steps:
            assert state.steps[each.id].status is StepStatus.SKIPPED
    assert kept.run_id == "new"
