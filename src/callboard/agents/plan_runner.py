"""How a plan goes on: what has ended, what is skipped, what can begin, whether all is done; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callboard.agents.mapping import Scope, fill
from callboard.agents.step_items import begun, halted, item_path, items_ended, items_of, place
from callboard.errors import InvalidInputError
from callboard.state.plan_conditions import holds
from callboard.state.plans import OnFailure, Plan, PlanRunState, PlanStep, StepState, StepStatus
from callboard.state.runs import RunResult, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A run that is to be started: the step, its place (`ID`, or `ID[3]` for an item of its list), its input."""

    step: PlanStep
    path: str
    input: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NextMove:
    """The plan's state with what has ended, and what to do: start runs, stop for a failed step, make another plan
    because of one, finish, or (nothing of these) wait."""

    state: PlanRunState
    start: tuple[Begin, ...] = ()
    failed: str | None = None
    revise: str | None = None
    finished: bool = False


def next_move(
    plan: Plan, state: PlanRunState, children: Sequence[RunResult], given: Any = None, *, revisions: int = 0
) -> NextMove:
    """`children` are the runs of the plan's steps as they are now, `given` is the run's input; so often may the plan be
    changed."""
    return _Course(plan, state, children, given, revisions).move()


def started(state: PlanRunState, runs: Mapping[str, str]) -> PlanRunState:
    """The state after the steps, or items of steps, have their runs (place → run id)."""
    steps = dict(state.steps)
    for path, run_id in runs.items():
        name, index = place(path)
        fresh = StepState(status=StepStatus.RUNNING, run_id=run_id)
        steps[name] = fresh if index is None else steps[name].with_item(index, fresh)
    return replace(state, steps=steps)


def outputs(state: PlanRunState) -> dict[str, Any]:
    """What the finished steps gave."""
    return {name: step.output for name, step in state.steps.items() if step.status is StepStatus.SUCCEEDED}


def absorbed(state: PlanRunState) -> frozenset[str]:
    """The runs whose end the state already contains."""
    each = [part for step in state.steps.values() for part in (step, *(step.items or ()))]
    return frozenset([*state.past, *(part.run_id for part in each if part.run_id and part.status.ended)])


def runs_under_way(state: PlanRunState) -> frozenset[str]:
    """The runs of steps and items whose end the state does not contain yet."""
    each = [part for step in state.steps.values() for part in (step, *(step.items or ()))]
    return frozenset(part.run_id for part in each if part.run_id and part.status is StepStatus.RUNNING)


def failure_rule(step: PlanStep, plan: Plan, revisions: int) -> OnFailure:
    """What the step's failure means; a plan that was changed as often as allowed is not changed again."""
    rule: OnFailure = step.on_failure or ("revise" if revisions else "stop")
    return "stop" if rule == "revise" and plan.revision >= revisions else rule


class _Course:
    """One look at a plan."""

    def __init__(
        self, plan: Plan, state: PlanRunState, children: Sequence[RunResult], given: Any, revisions: int
    ) -> None:
        self._plan = plan
        self._state = state
        self._given = given
        self._rules = {step.id: failure_rule(step, plan, revisions) for step in plan.steps}
        self._by_run = {child.run.run_id: child for child in children}
        self._steps = {step.id: state.steps.get(step.id, StepState()) for step in plan.steps}
        self._ready: dict[str, Begin] = {}

    def move(self) -> NextMove:
        for name, step in self._steps.items():
            self._steps[name] = self._absorbed(step)
        while any(self._decided(step) for step in self._plan.steps):
            pass  # a step that is skipped, or fails before it begins, lets others be decided
        stopped = self._failed("stop")
        if stopped is not None:
            return NextMove(state=self._now("failed"), failed=stopped)
        revise = self._failed("revise")
        if revise is not None:
            # Nothing new begins, and what is under way ends first: the planner must know what there is.
            return NextMove(state=self._now(), revise=None if runs_under_way(self._now()) else revise)
        if not all(step.status.ended for step in self._steps.values()):
            return NextMove(state=self._now(), start=tuple(self._ready.values()))
        failed = self._failed("continue")
        if failed is not None and not any(step.status is StepStatus.SUCCEEDED for step in self._steps.values()):
            return NextMove(state=self._now("failed"), failed=failed)
        return NextMove(state=self._now("succeeded"), finished=True)

    def _now(self, status: str = "running") -> PlanRunState:
        return replace(self._state, steps=dict(self._steps), status=status)

    def _failed(self, rule: OnFailure) -> str | None:
        return next(
            (
                name
                for name, step in self._steps.items()
                if step.status is StepStatus.FAILED and self._rules[name] == rule
            ),
            None,
        )

    def _absorbed(self, step: StepState) -> StepState:
        if step.items is not None:
            items = tuple(self._absorbed(item) for item in step.items)
            return step if items == step.items else replace(step, items=items)
        child = self._by_run.get(step.run_id or "")
        if step.status is StepStatus.RUNNING and child is not None and child.run.status.terminal:
            return _ended(step, child)
        return step

    def _decided(self, step: PlanStep) -> bool:
        """Whether anything about the step has changed."""
        before = self._steps[step.id]
        match before.status:
            case StepStatus.PENDING:
                after = self._pending(step, before)
            case StepStatus.RUNNING if before.items is not None:
                after = self._with_items(step, before)
            case _:
                return False
        self._steps[step.id] = after
        return after is not before

    def _pending(self, step: PlanStep, state: StepState) -> StepState:
        prerequisites = {name: self._steps[name] for name in step.prerequisites if name in self._steps}
        if step.id in self._ready or not all(self._lets_on(name) for name in prerequisites):
            return state
        left_out = next((name for name, each in prerequisites.items() if each.status is StepStatus.SKIPPED), None)
        if left_out is not None and not step.run_if_skipped:
            return StepState(status=StepStatus.SKIPPED, error=f"'{left_out}' was skipped")
        scope = self._scope()
        try:
            if step.when is not None and not holds(step.when, scope.value_or_none):
                return StepState(status=StepStatus.SKIPPED, error=f"not so: {step.when}")
            if step.for_each is not None:
                return begun(len(items_of(step, scope)))
            self._ready[step.id] = Begin(step=step, path=step.id, input=fill(step.input, scope))
        except InvalidInputError as error:
            return StepState(status=StepStatus.FAILED, error=error.message)
        return state

    def _lets_on(self, name: str) -> bool:
        step = self._steps[name]
        return step.status.ended and (step.status is not StepStatus.FAILED or self._rules[name] == "continue")

    def _with_items(self, step: PlanStep, state: StepState) -> StepState:
        """Prepares as many of the step's items as may run at once."""
        rule, items = self._rules[step.id], state.items or ()
        paths = [item_path(step.id, index) for index in range(len(items))]
        active = sum(
            item.status is StepStatus.RUNNING or path in self._ready for path, item in zip(paths, items, strict=True)
        )
        waiting = [index for index, item in enumerate(items) if item.status is StepStatus.PENDING]
        scope, values = self._scope(), None
        for index in [] if halted(state, rule) else waiting:
            if active >= step.max_parallel or paths[index] in self._ready:
                continue
            try:
                values = items_of(step, scope) if values is None else values
                inside = replace(scope, item_name=step.item, item=values[index])
                self._ready[paths[index]] = Begin(step=step, path=paths[index], input=fill(step.input, inside))
                active += 1
            except InvalidInputError as error:
                state = state.with_item(index, StepState(status=StepStatus.FAILED, error=error.message))
        if halted(state, rule):
            self._ready = {path: begin for path, begin in self._ready.items() if begin.step.id != step.id}
        return items_ended(state, rule)

    def _scope(self) -> Scope:
        ended = {name: step for name, step in self._steps.items() if step.status.ended}
        return Scope(
            given=self._given,
            outputs={name: step.output for name, step in ended.items()},
            facts={name: {"status": step.status.value, "error": step.error} for name, step in ended.items()},
        )


def _ended(step: StepState, child: RunResult) -> StepState:
    if child.run.status is RunStatus.SUCCEEDED:
        return replace(step, status=StepStatus.SUCCEEDED, output=child.output)
    reason = child.error.message if child.error is not None else f"the run ended as {child.run.status}"
    return replace(step, status=StepStatus.FAILED, error=reason)
