"""Collaborative agents: a plan whose steps are runs of other agents; between two steps nothing is held."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from callboard.agents.aggregation import aggregate_results, without_aggregation
from callboard.agents.engine import Asked, Failed, Handed, Note, Outcome, QuestionRules, Succeeded, Usage
from callboard.agents.engines.model_call import NoAnswer
from callboard.agents.engines.text_limits import clipped
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.performer import Performance
from callboard.agents.plan_approval import approved
from callboard.agents.plan_making import WITHIN, aggregated, member_of, plan_of_file, plan_within, revisions_allowed
from callboard.agents.plan_revising import revised_state, setback_of
from callboard.agents.plan_runner import NextMove, absorbed, next_move, runs_under_way, started
from callboard.agents.planner_seat import PlannerSeat
from callboard.agents.planning_agent import Planned, PlanningAgent, Setback, plan_note
from callboard.agents.stage import Stage
from callboard.agents.step_run import step_run
from callboard.clock import Clock
from callboard.config.catalog import Catalog, CatalogEntry, LoadCatalog
from callboard.config.collaboration_settings import CollaborationSettings
from callboard.config.definition import ExecutionMode
from callboard.llm.provider import PlanMember
from callboard.logs import StructuredLogger
from callboard.state.finishing import ChildDraft, Settlement
from callboard.state.plans import Plan, PlanDraft, PlanRunState, PlanStateSave, StepState, StepStatus
from callboard.state.runs import RunResult
from callboard.state.state_manager import StateManager


class LoadChildren(Protocol):
    """Gives the runs of a run's steps as they are now, with what came of them.

    In the order of their beginnings: all, or those whose ids are `among` the given; an id that is no step's run is
    passed over. UnavailableError.
    """

    async def __call__(self, run_id: str, among: Collection[str] | None = None) -> Sequence[RunResult]: ...


MAX_DEPTH = 5
ASKING = "asking"
REASON_CHARS = 300


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
        named = [catalog.get(name) for name in entry.definition.collaboration.members]
        members = [member_of(member.definition) for member in named if member is not None]
        seat = PlannerSeat.of(agent, assignment, self._clock)
        claim = _Claim(
            entry=entry,
            catalog=catalog,
            assignment=assignment,
            planner=PlanningAgent(seat, coordinator=entry.name),
            stage=Stage(assignment.recording, (), agent.redact),
            members=members,
            rules=seat.questions,
        )
        plan = await self._states.load_plan(run.run_id)
        if plan is None:
            made = await self.create_execution_plan(claim)
            if not isinstance(made, Plan):
                return Performance(outcome=made)
            plan = made
            claim.notes.append(plan_note(plan))
            self._log.info("plan made", origin=plan.origin, steps=[f"{step.id}: {step.agent}" for step in plan.steps])
        return await self.execute_plan_step(plan, claim)

    async def create_execution_plan(self, claim: _Claim) -> Plan | Outcome:
        """The plan in the step that the run is one of, else the file's fixed plan, else the planner's."""
        run, collaboration = claim.assignment.run, claim.collaboration
        missing = [name for name in collaboration.members if name not in claim.catalog.agents]
        if missing or not collaboration.members:
            out = "write their agent files, or take them out of collaboration.members"
            message = (
                f"members that do not exist: {', '.join(missing)}; {out}" if missing else "the agent has no members"
            )
            return Failed(code="no_members", message=message, retryable=False, usage=Usage())
        if run.depth >= MAX_DEPTH:
            message = f"plans are nested {MAX_DEPTH} deep at the most"
            return Failed(code="too_deep", message=message, retryable=False, usage=Usage())
        goal = claim.assignment.input
        above = await self._states.load_plan(run.parent_run_id) if run.parent_run_id else None
        within = plan_within(goal, above, run.step_id)
        if within is not None:
            return within
        if collaboration.plan:
            return plan_of_file(goal, claim.entry.name, collaboration)
        made = await claim.planner.create_plan(goal, claim.members, max_steps=collaboration.max_steps)
        if not isinstance(made, Planned):
            return made
        claim.used(made)
        return aggregated(made.plan, collaboration)

    async def execute_plan_step(self, plan: Plan, claim: _Claim) -> Performance:
        """One move: take in what has ended, change the plan where that is wanted, then start what can begin, or
        finish."""
        run = claim.assignment.run
        before = await self._states.load_plan_run_state(run.run_id)
        awaited = runs_under_way(before)
        # Only those: a long list's outputs would be read again at each move.
        children = await self._children(run.run_id, awaited) if awaited else ()
        state = before
        if _is_to_be_approved(plan, before, claim):
            said = self._approved(plan, claim)
            if not isinstance(said, Plan):
                return claim.performance(said, plan)
            if said is not plan:
                plan = claim.changed(said, "changed by whoever approved it")
            state = replace(state, status="running")
        move = self._move(plan, state, children, claim)
        while move.revise is not None:
            setback = setback_of(without_aggregation(plan), move.state, move.revise)
            made = await self._another(plan, setback, claim)
            if not isinstance(made, Plan):
                return claim.performance(made, plan)
            plan, state = made, revised_state(move.state, setback)
            if claim.asks(plan):
                said = self._approved(plan, claim)
                if not isinstance(said, Plan):
                    return claim.performance(said, plan, before, replace(state, status=ASKING))
                plan = said
            move = self._move(plan, state, children, claim)
        return self._moved(plan, before, move, claim)

    def _approved(self, plan: Plan, claim: _Claim) -> Plan | Asked | Failed:
        """By the people who were asked; in a dry run, where nobody is, as they said once or as if they said yes."""
        answers = dict(claim.assignment.answers)
        while True:
            said = approved(
                plan,
                answers,
                members=[member.name for member in claim.members],
                max_steps=claim.collaboration.max_steps,
                coordinator=claim.entry.name,
                rules=claim.rules,
            )
            if not isinstance(said, Asked) or not claim.assignment.run.dry:
                return said
            answers[said.question.key] = claim.stage.answer(said.question)
            claim.notes += claim.stage.notes()

    def _move(self, plan: Plan, state: PlanRunState, children: Sequence[RunResult], claim: _Claim) -> NextMove:
        """With a failure for each step whose agent is not there: nothing can be started for it."""
        revisions = revisions_allowed(plan, claim.collaboration)
        while True:
            move = next_move(plan, state, children, claim.assignment.given, revisions=revisions)
            lost = {begin.path for begin in move.start if claim.catalog.get(begin.step.agent) is None}
            if not lost:
                return move
            steps = dict(move.state.steps)
            for begin in move.start:
                if begin.path in lost:
                    error = f"there is no agent '{begin.step.agent}'"
                    steps[begin.step.id] = StepState(status=StepStatus.FAILED, error=error)
            state = replace(move.state, steps=steps)

    async def _another(self, plan: Plan, setback: Setback, claim: _Claim) -> Plan | NoAnswer:
        """The plan's next revision, or what the run comes to without one."""
        made = await claim.planner.revise_plan(
            without_aggregation(plan), setback, claim.members, max_steps=claim.collaboration.max_steps
        )
        reason = f"step '{setback.step}' failed: {setback.error}"
        if isinstance(made, Planned):
            claim.used(made)
            self._log.info("plan changed", revision=made.plan.revision, reason=reason)
            return claim.changed(made.plan, reason)
        if isinstance(made, Failed) and made.code == "bad_plan":
            return replace(made, code="step_failed", message=f"{reason}; {made.message}")
        return made

    def _moved(self, plan: Plan, before: PlanRunState, move: NextMove, claim: _Claim) -> Performance:
        claim.notes += _told(before, move.state)
        if move.failed is not None:
            error = move.state.steps[move.failed].error
            message = f"step '{move.failed}' failed: {error}"
            failed = Failed(code="step_failed", message=message, retryable=False, usage=Usage())
            return claim.performance(failed, plan, before, move.state)
        if move.finished:
            result = aggregate_results(plan, move.state)
            return claim.performance(Succeeded(output=result, messages=(), usage=Usage()), plan, before, move.state)
        return self._start(plan, before, move, claim)

    def _start(self, plan: Plan, before: PlanRunState, move: NextMove, claim: _Claim) -> Performance:
        run, now = claim.assignment.run, self._clock.now()
        drafts = {
            begin.path: step_run(
                run, begin.step, begin.input, claim.catalog, now, path=begin.path, revision=plan.revision
            )
            for begin in move.start
        }
        claim.notes += [
            Note(kind="step", data={"step": path, "agent": draft.run.agent, "run_id": draft.run.run_id})
            for path, draft in drafts.items()
        ]
        after = started(move.state, {path: draft.run.run_id for path, draft in drafts.items()})
        if not runs_under_way(after):
            stuck = Failed(code="plan_stuck", message="no step of the plan can begin", retryable=False, usage=Usage())
            return claim.performance(stuck, plan, before, after)
        return claim.performance(
            Handed(children=(), usage=Usage()), plan, before, after, children=tuple(drafts.values())
        )


@dataclass(slots=True, kw_only=True)
class _Claim:
    """What one claim of a run works with, and what it has used and has to tell so far."""

    entry: CatalogEntry
    catalog: Catalog
    assignment: Assignment
    planner: PlanningAgent
    stage: Stage
    members: Sequence[PlanMember]
    rules: QuestionRules | None = None
    usage: Usage = Usage()  # noqa: RUF009  # frozen
    notes: list[Note] = field(default_factory=list)
    reason: str = ""

    @property
    def collaboration(self) -> CollaborationSettings:
        return self.entry.definition.collaboration

    def asks(self, plan: Plan) -> bool:
        """Whether the plan is shown to a person first: one within another plan was shown with that."""
        return self.collaboration.approve_plan and plan.origin != WITHIN

    def used(self, planned: Planned) -> None:
        self.usage += planned.usage
        self.notes += planned.notes

    def changed(self, plan: Plan, reason: str) -> Plan:
        """The plan in another form than it is stored in."""
        self.reason = reason
        whole = plan if plan.origin == WITHIN else aggregated(plan, self.collaboration)
        self.notes.append(plan_note(whole, reason))
        return whole

    def performance(
        self,
        outcome: Outcome,
        plan: Plan,
        before: PlanRunState | None = None,
        after: PlanRunState | None = None,
        children: tuple[ChildDraft, ...] = (),
    ) -> Performance:
        """The outcome with the plan and, where it has come further, its state."""

        def adds(settlement: Settlement) -> Settlement:
            draft = PlanDraft(run_id=settlement.run_id, plan=plan, reason=self.reason)
            if before is None or after is None:
                return replace(settlement, plan=draft)
            save = PlanStateSave(state=after, expected=before.version)
            return replace(settlement, plan=draft, plan_state=save, children=children, absorbed=absorbed(after))

        whole = replace(outcome, usage=outcome.usage + self.usage, notes=(*outcome.notes, *self.notes))
        return Performance(outcome=whole, adds=adds)


def _is_to_be_approved(plan: Plan, state: PlanRunState, claim: _Claim) -> bool:
    """Not once it has begun: then somebody has said yes."""
    return claim.asks(plan) and (state.version == 0 or state.status == ASKING)


def _told(before: PlanRunState, after: PlanRunState) -> list[Note]:
    """A line for each step that was skipped or has failed since."""
    notes = []
    for name, step in after.steps.items():
        known = before.steps.get(name, StepState()).status
        if step.status is not known and step.status in (StepStatus.SKIPPED, StepStatus.FAILED):
            why = clipped(step.error or "", REASON_CHARS)
            notes.append(Note(kind="plan_step", data={"step": name, "status": step.status.value, "reason": why}))
    return notes
