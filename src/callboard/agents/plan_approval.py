"""A plan that is shown to a person before anything of it runs; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from callboard.agents.aggregation import without_aggregation
from callboard.agents.engine import Answer, Asked, Failed, Question, QuestionRules, Usage
from callboard.agents.plan_check import read_steps
from callboard.state.plans import Plan, PlanStep

APPROVAL = "plan"
MAX_EDITS = 5
"""So often may people send a plan of their own that cannot be carried out."""


def approved(
    plan: Plan,
    answers: Mapping[str, Answer],
    *,
    members: Collection[str],
    max_steps: int,
    coordinator: str,
    rules: QuestionRules | None = None,
) -> Plan | Asked | Failed:
    """The plan to carry out: this one, or as a person has edited it (its next revision); else the question, or the end
    that a no means. A person's plan that cannot be carried out is asked about again, with its problems."""
    problems: list[str] = []
    for number in range(MAX_EDITS + 1):
        key = _key(plan, number)
        answer = answers.get(key)
        if answer is None:
            return Asked(question=_question(key, plan, problems, rules), usage=Usage())
        refused = _refusal(answer)
        if refused is not None:
            return Failed(code="plan_refused", message=refused, retryable=False, usage=Usage())
        edited = answer.value.get("plan") if isinstance(answer.value, dict) else None
        if edited is None:
            return plan
        steps, problems = read_steps(edited, members, max_steps, coordinator)
        if not problems:
            return replace(plan, steps=steps, revision=plan.revision + 1)
    told = f"{MAX_EDITS} plans in turn could not be carried out: {'; '.join(problems)}"
    return Failed(code="plan_refused", message=told, retryable=False, usage=Usage())


def listing(steps: Sequence[PlanStep], indent: str = "") -> str:
    """The steps as people read them, one a line."""
    lines = []
    for number, step in enumerate(steps, 1):
        lines.append(f"{indent}{number}. {step.id} ({step.agent}){_remarks(step)}")
        if step.steps:
            lines.append(listing(step.steps, indent + "   "))
    return "\n".join(lines)


def _remarks(step: PlanStep) -> str:
    remarks = []
    if step.for_each is not None:
        remarks.append(f"for each {step.item} of {step.for_each if isinstance(step.for_each, str) else 'a list'}")
    if step.when is not None:
        remarks.append(f"if {step.when}")
    return " " + ", ".join(remarks) if remarks else ""


def _key(plan: Plan, number: int) -> str:
    revision = f"/{plan.revision}" if plan.revision else ""
    return f"{APPROVAL}{revision}" + (f"#{number}" if number else "")


def _question(key: str, plan: Plan, problems: Sequence[str], rules: QuestionRules | None) -> Question:
    changed = "changed " if plan.revision else ""
    text = f"Shall this {changed}plan be carried out?\n{listing(plan.steps)}"
    if problems:
        text = f"Your plan cannot be carried out: {'; '.join(problems)}\n{text}"
    details: dict[str, Any] = {
        "plan": {"steps": [step.to_record() for step in without_aggregation(plan).steps]},
        "revision": plan.revision,
    }
    return Question(key=key, kind="confirmation", text=text, purpose="plan", details=details, rules=rules)


def _refusal(answer: Answer) -> str | None:
    """Why the plan is not to be carried out; None for a yes."""
    if answer.status == "expired":
        return "nobody said in time whether the plan shall be carried out"
    value = answer.value
    if value is True or (isinstance(value, dict) and value.get("approved") is True):
        return None
    reason = (value.get("reason") if isinstance(value, dict) else None) or answer.comment
    by = f" by {answer.answered_by}" if answer.answered_by else ""
    return f"the plan was not approved{by}: {reason}" if reason else "the plan was not approved"
