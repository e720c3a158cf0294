"""Collaborative agents: a plan whose steps are runs of other agents; between two steps nothing is held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from callboard.agents.aggregation import aggregate_results
from callboard.agents.engine import Asked, Failed, Question, Succeeded, Usage
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.mapping import resolve
from callboard.agents.plan_runner import NextMove, absorbed, next_move, outputs, started
from callboard.agents.planning_agent import PlanningAgent
from callboard.agents.pool import LoadCatalog, Performance
from callboard.agents.step_run import step_run
from callboard.clock import Clock
from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.definition import ExecutionMode
from callboard.errors import InvalidInputError
from callboard.llm.errors import LLMProviderError, LLMRateLimitError, LLMServiceUnavailableError
from callboard.llm.provider import LLMProvider, PlanMember
from callboard.logs import StructuredLogger
from callboard.state.finishing import ProgressDraft, Settlement
from callboard.state.plans import Plan, PlanDraft, PlanRunState, PlanStateSave, PlanStep
from callboard.state.runs import Run, RunResult, RunStatus, WaitingKind
from callboard.state.state_manager import StateManager

LoadChildren = Callable[[str], Awaitable[Sequence[RunResult]]]
MAX_DEPTH = 5
APPROVAL = "plan"


class CollaborativeAgentPool:
    """Each claim of a collaborative run makes one move of its plan and lets go: the run waits as a row while its
    steps are worked on by other pools (DESIGN.md, rule 7 and R21)."""

    mode = ExecutionMode.COLLABORATIVE.value

    def __init__(self, states: StateManager, children: LoadChildren, catalog: LoadCatalog, clock: Clock) -> None:
        self._states = states
        self._children = children
        self._catalog = catalog
        self._clock = clock
        self._log = StructuredLogger("collaborative-agent-pool")

    async def perform(self, agent: ExecutionAgent, entry: CatalogEntry, assignment: Assignment) -> Performance:
        run = assignment.run
        catalog = await self._catalog(run.catalog)
        plan = await self._states.load_plan(run.run_id)
        if plan is None:
            made = await self.create_execution_plan(agent.provider, entry, catalog, assignment)
            if isinstance(made, Failed):
                return Performance(outcome=made)
            plan = made
            self._log.info("plan made", origin=plan.origin, steps=[f"{step.id}: {step.agent}" for step in plan.steps])
        if entry.definition.collaboration.approve_plan:
            refusal = _approval(plan, run, assignment)
            if refusal is not None:
                return Performance(outcome=refusal, adds=lambda settlement: _with_plan(settlement, run, plan))
        return await self.execute_plan_step(plan, catalog, assignment)

    async def create_execution_plan(
        self, provider: LLMProvider, entry: CatalogEntry, catalog: Catalog, assignment: Assignment
    ) -> Plan | Failed:
        """The file's fixed plan, else the planner's."""
        collaboration = entry.definition.collaboration
        missing = [name for name in collaboration.members if name not in catalog.agents]
        if missing or not collaboration.members:
            message = f"members that do not exist: {', '.join(missing)}" if missing else "the agent has no members"
            return Failed(code="no_members", message=message, retryable=False, usage=Usage())
        if assignment.run.depth >= MAX_DEPTH:
            message = f"plans are nested {MAX_DEPTH} deep at the most"
            return Failed(code="too_deep", message=message, retryable=False, usage=Usage())
        if collaboration.plan:
            steps = tuple(
                PlanStep(id=step.id, agent=step.agent, input=step.input, depends_on=step.depends_on)
                for step in collaboration.plan
            )
            return Plan(goal=assignment.input, origin="file", steps=steps)
        members = [_member(catalog.agent(name)) for name in collaboration.members]
        assignment.journal.busy(300.0)
        try:
            return await PlanningAgent(provider).create_plan(
                assignment.input, members, max_steps=collaboration.max_steps
            )
        except LLMProviderError as error:
            again = isinstance(error, LLMRateLimitError | LLMServiceUnavailableError)
            return Failed(code=error.code, message=error.message, retryable=again, usage=Usage())
        finally:
            assignment.journal.beat()

    async def execute_plan_step(self, plan: Plan, catalog: Catalog, assignment: Assignment) -> Performance:
        """One move: take in what has ended, then start what can begin, or finish."""
        run = assignment.run
        state = await self._states.load_plan_run_state(run.run_id)
        children = await self._children(run.run_id) if state.version else ()
        move = next_move(plan, state, children)
        if move.failed is not None:
            step = move.state.steps[move.failed]
            failed = Failed(
                code="step_failed", message=f"step '{move.failed}' failed: {step.error}", retryable=False, usage=Usage()
            )
            return Performance(
                outcome=failed, adds=lambda settlement: _with_state(settlement, run, plan, state, move.state)
            )
        if move.finished:
            result = aggregate_results(plan, outputs(move.state))
            return Performance(
                outcome=Succeeded(output=result, messages=(), usage=Usage()),
                adds=lambda settlement: _with_state(settlement, run, plan, state, move.state),
            )
        return self._start(plan, state, move, catalog, assignment)

    def _start(
        self, plan: Plan, state: PlanRunState, move: NextMove, catalog: Catalog, assignment: Assignment
    ) -> Performance:
        run, now = assignment.run, self._clock.now()
        try:
            drafts = {
                step.id: step_run(run, step, self._input(step, move, assignment), catalog, now) for step in move.start
            }
        except InvalidInputError as error:
            failed = Failed(code=error.code, message=error.message, retryable=False, usage=Usage())
            return Performance(outcome=failed)
        after = started(move.state, {name: draft.run.run_id for name, draft in drafts.items()})
        settlement = Settlement(
            run_id=run.run_id,
            fencing=run.fencing,
            status=RunStatus.WAITING,
            now=now,
            waiting_kind=WaitingKind.STEPS,
            children=tuple(drafts.values()),
            absorbed=absorbed(after),
            progress=tuple(_step_line(step, drafts[step.id].run.run_id) for step in move.start),
        )
        return Performance(settlement=_with_state(settlement, run, plan, state, after))

    @staticmethod
    def _input(step: PlanStep, move: NextMove, assignment: Assignment) -> Any:
        return resolve(step.input, assignment.input, outputs(move.state))


def _approval(plan: Plan, run: Run, assignment: Assignment) -> Asked | Failed | None:
    """The plan is shown before anything runs; a no ends the run."""
    answer = assignment.answers.get(APPROVAL)
    if answer is None:
        listing = "\n".join(f"{index}. {step.id} ({step.agent})" for index, step in enumerate(plan.steps, 1))
        question = Question(key=APPROVAL, kind="confirmation", text=f"Shall this plan be carried out?\n{listing}")
        return Asked(question=question, usage=Usage())
    if answer.value is True:
        return None
    return Failed(code="plan_refused", message="the plan was not approved", retryable=False, usage=Usage())


def _with_plan(settlement: Settlement, run: Run, plan: Plan) -> Settlement:
    return replace(settlement, plan=PlanDraft(run_id=run.run_id, plan=plan))


def _with_state(settlement: Settlement, run: Run, plan: Plan, before: PlanRunState, after: PlanRunState) -> Settlement:
    return replace(
        settlement,
        plan=PlanDraft(run_id=run.run_id, plan=plan),
        plan_state=PlanStateSave(state=after, expected=before.version),
    )


def _step_line(step: PlanStep, run_id: str) -> ProgressDraft:
    return ProgressDraft(kind="step", data={"step": step.id, "agent": step.agent, "run_id": run_id})


def _member(entry: CatalogEntry) -> PlanMember:
    definition = entry.definition
    return PlanMember(
        name=definition.name, description=definition.description, capabilities=tuple(definition.capabilities)
    )
