"""Where a run's plan comes from when it is no model's: the file, or the step that the run is one of; pure."""

from __future__ import annotations

from dataclasses import replace

from callboard.agents.aggregation import with_aggregation
from callboard.agents.step_items import place
from callboard.config.collaboration_settings import AggregateBy, CollaborationSettings
from callboard.config.definition import AgentDefinition
from callboard.llm.provider import PlanMember
from callboard.state.plans import Plan

WITHIN = "step"
"""The origin of a plan that stands in a step of another one."""
PLANNERS_REVISIONS = 1


def plan_of_file(goal: str, coordinator: str, collaboration: CollaborationSettings) -> Plan:
    steps = tuple(step.step(coordinator) for step in collaboration.plan)
    return aggregated(Plan(goal=goal, origin="file", steps=steps), collaboration)


def plan_within(goal: str, parent: Plan | None, step_id: str | None) -> Plan | None:
    """The plan that stands in the parent's step, None where there is none."""
    step = None if parent is None or step_id is None else parent.step(place(step_id)[0])
    if parent is None or step is None or not step.steps:
        return None
    return Plan(goal=goal, origin=WITHIN, steps=step.steps)


def aggregated(plan: Plan, collaboration: CollaborationSettings) -> Plan:
    """The plan, with what its file says about the result."""
    match collaboration.aggregate:
        case AggregateBy(agent=agent):
            return with_aggregation(plan, agent)
        case said:
            return replace(plan, aggregate=said)


def revisions_allowed(plan: Plan, collaboration: CollaborationSettings) -> int:
    """How often the plan may be changed: as the file says, else once for a planner's plan or one that asks for it."""
    if collaboration.max_revisions is not None:
        return collaboration.max_revisions
    asked_for = any(step.on_failure == "revise" for step in plan.steps)
    return PLANNERS_REVISIONS if plan.origin == "planner" or asked_for else 0


def member_of(definition: AgentDefinition) -> PlanMember:
    return PlanMember(
        name=definition.name, description=definition.description, capabilities=tuple(definition.capabilities)
    )
