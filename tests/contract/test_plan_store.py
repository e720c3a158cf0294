"""Plans as they were changed, and plans of runs that are yet to come, on every database (R21)."""

from __future__ import annotations

from dataclasses import replace

from callboard.state.plan_store import PlanStore
from callboard.state.plans import Plan, PlanDraft, PlanRunState, PlanStateSave, PlanStep, StepState, StepStatus
from callboard.state.runs import RunStatus
from tests.support.state_house import StateHouse

INNER = PlanStep(id="in", agent="x", input="i")
WHOLE = PlanStep(
    id="a",
    agent="team",
    input={"q": "${one.n}"},
    depends_on=("z",),
    when="${input.go} == true",
    run_if_skipped=True,
    for_each="${input.list}",
    item="one",
    max_parallel=3,
    on_failure="revise",
    steps=(INNER,),
)
PLAN = Plan(goal="g", origin="planner", steps=(WHOLE, PlanStep(id="z", agent="x", input="i")), aggregate="all")
HALF = StepState(
    status=StepStatus.RUNNING,
    items=(
        StepState(status=StepStatus.SUCCEEDED, run_id="r0", output=[1]),
        StepState(status=StepStatus.RUNNING, run_id="r1"),
    ),
)


async def test_a_plan_comes_back_with_everything_that_its_steps_say(house: StateHouse) -> None:
    plans = PlanStore(house.database, house.clock)
    run = await house.start(mode="collaborative")
    state = PlanRunState(run_id=run.run_id, steps={"a": HALF}, past=("old",), status="asking")
    await house.settle(
        run,
        RunStatus.QUEUED,
        plan=PlanDraft(run_id=run.run_id, plan=PLAN),
        plan_state=PlanStateSave(state=state, expected=0),
    )
    assert await plans.plan(run.run_id) == PLAN
    loaded = await plans.state(run.run_id)
    assert (loaded.steps, loaded.past, loaded.status, loaded.version) == ({"a": HALF}, ("old",), "asking", 1)


async def test_the_last_change_of_a_plan_counts_and_all_are_kept(house: StateHouse) -> None:
    plans = PlanStore(house.database, house.clock)
    run = await house.start(mode="collaborative")
    for revision in (0, 1, 2, 2):
        plan = replace(PLAN, steps=PLAN.steps[: 2 - (revision > 0)], revision=revision)
        await house.settle(run, RunStatus.QUEUED, plan=PlanDraft(run_id=run.run_id, plan=plan, reason=f"r{revision}"))
        run = (await house.claim(mode="collaborative"))[0].run
    latest = await plans.plan(run.run_id)
    assert latest is not None
    assert (latest.revision, latest.steps, latest.goal) == (2, (WHOLE,), "g")
    assert [(each.plan.revision, each.reason) for each in await plans.revisions(run.run_id)] == [(1, "r1"), (2, "r2")]


async def test_a_run_that_is_yet_to_come_is_given_its_plan_once(house: StateHouse) -> None:
    plans = PlanStore(house.database, house.clock)
    done = StepState(status=StepStatus.SUCCEEDED, output="kept")
    await plans.begin_with(PLAN, PlanRunState(run_id="new", steps={"z": done}))
    await plans.begin_with(replace(PLAN, goal="other"), PlanRunState(run_id="new"))
    assert await plans.plan("new") == PLAN
    state = await plans.state("new")
    assert (state.version, state.steps) == (1, {"z": done})
