"""The planner: asks a model for a plan, or another one after a failure, and takes only what can be carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from callboard.agents.engine import Failed, Note, Usage
from callboard.agents.engines.model_call import Answered, Asker, NoAnswer, ask_model
from callboard.agents.engines.notes import model_notes
from callboard.agents.engines.text_limits import clipped, storable
from callboard.agents.mapping import json_text
from callboard.agents.plan_check import check_steps, read_steps
from callboard.llm.provider import LLMRequest, Message, PlanMember, PlanRequest
from callboard.state.plans import Plan, PlanStep

ATTEMPTS = 3
KEPT_CHARS = 20_000
"""So much of an answer that is no plan is kept for the next try."""
SHOWN_CHARS = 1_500
"""So much of each output a planner sees that is to go on from there."""
INSTRUCTIONS = """You plan work for a team. Answer with one JSON object and nothing else:
{{"steps": [{{"id": "…", "agent": "…", "input": "…", "depends_on": ["…"]}}]}}
Use only these agents, at most {max_steps} steps, each id once. "input" is what the agent is told; it may contain
${{input}} (the goal) and ${{step.ID.output}} (the output of another step, which then runs before). Steps that do not
need each other run at the same time. Where it helps, a step may also have:
"when": a condition such as "${{step.ID.output}} contains 'yes'" (==, !=, <, <=, >, >=, contains, and, or, not); where
it is false the step is skipped, and what depends on it too, unless that has "run_if_skipped": true.
"for_each": "${{step.ID.output}}", a list: the step is done once for each item, which its input calls ${{item}}.
"on_failure": "stop" or "continue" (go on without its output).
Agents:
{members}"""
_REVISE = """{goal}

A plan for this is under way and cannot go on as it is: step '{step}' failed: {error}

Done so far (you may refer to these outputs as ${{step.ID.output}}; do not plan these steps again):
{done}

Not done: {open}

Answer with the steps that are still to be done, another way where the old one failed. The failed step's output does not
exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan that can be carried out, and what its making has used since the last checkpoint."""

    plan: Plan
    usage: Usage
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """Why a plan cannot go on as it is: the step that failed, and the outputs of those that are done, by step."""

    step: str
    error: str
    done: Mapping[str, Any]
    kept: tuple[PlanStep, ...]
    open: tuple[str, ...] = ()


Verdict: TypeAlias = "tuple[tuple[PlanStep, ...], list[str]]"


class PlanningAgent:
    """Makes plans with the coordinator's model; what is wrong with an answer is told to the model, which may try again.

    Each answer that is no plan is a checkpoint, so that a killed planner goes on where it was. Its calls are within the
    run's budgets as those of the engine are.
    """

    def __init__(self, asker: Asker, *, coordinator: str = "") -> None:
        self._asker = asker
        self._coordinator = coordinator

    async def create_plan(self, goal: str, members: Sequence[PlanMember], *, max_steps: int) -> Planned | NoAnswer:
        """A plan, or what the run comes to without one: a failure (`bad_plan`) holds the last answer's problems."""

        def read(answer: str) -> Verdict:
            return _read(answer, members, max_steps, self._coordinator)

        found = await self._ask(goal, members, max_steps, read, purpose="plan")
        if isinstance(found, _Found):
            plan = Plan(goal=goal, origin="planner", steps=found.steps)
            return Planned(plan=plan, usage=found.usage, notes=found.notes)
        return found

    async def revise_plan(
        self, plan: Plan, setback: Setback, members: Sequence[PlanMember], *, max_steps: int
    ) -> Planned | NoAnswer:
        """The plan's next revision: what is done stays, the rest is new."""
        kept = {step.id for step in setback.kept}

        def read(answer: str) -> Verdict:
            steps, problems = _read(answer, members, max_steps, self._coordinator, finished=kept)
            return tuple(step for step in steps if step.id not in kept), problems

        found = await self._ask(_setback_text(plan, setback), members, max_steps, read, purpose="revision")
        if isinstance(found, _Found):
            changed = Plan(
                goal=plan.goal, origin=plan.origin, steps=(*setback.kept, *found.steps), revision=plan.revision + 1
            )
            return Planned(plan=changed, usage=found.usage, notes=found.notes)
        return found

    async def _ask(
        self, wanted: str, members: Sequence[PlanMember], max_steps: int, read: Any, *, purpose: str
    ) -> _Found | NoAnswer:
        listing = "\n".join(
            f"- {member.name}: {member.description} ({', '.join(member.capabilities) or 'no labels'})"
            for member in members
        )
        asked = Message(role="user", content=storable(wanted))
        system = Message(role="system", content=INSTRUCTIONS.format(max_steps=max_steps, members=listing))
        plan = PlanRequest(goal=wanted, members=tuple(members), max_steps=max_steps)
        tried = _tries(await self._asker.journal.entries(), asked)
        problems: list[str] = []
        for call in range(ATTEMPTS):
            number = sum(message.role == "assistant" for message in tried)
            if number >= ATTEMPTS:
                problems = problems or [tried[-1].content]
                break
            answer = await ask_model(self._asker, LLMRequest(messages=(system, asked, *tried), plan=plan), call=call)
            if not isinstance(answer, Answered):
                return answer
            usage = Usage.of(answer.response)
            notes = model_notes(answer.response, seconds=answer.seconds, turn=number, redact=str, purpose=purpose)
            steps, problems = read(answer.response.content)
            if not problems:
                return _Found(steps=steps, usage=usage, notes=tuple(notes))
            if number + 1 >= ATTEMPTS:
                return _no_plan(problems, usage, (*notes, _refused(problems)))
            rubbish = [
                *([] if tried else [asked]),
                Message(role="assistant", content=storable(answer.response.content)[:KEPT_CHARS]),
                Message(role="user", content="This plan cannot be used: " + "; ".join(problems)),
            ]
            await self._asker.journal.append(rubbish, usage, [*notes, _refused(problems)])
            tried = (*tried, *rubbish[-2:])
        return _no_plan(problems, Usage(), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    steps: tuple[PlanStep, ...]
    usage: Usage
    notes: tuple[Note, ...]


def read_plan(answer: str, goal: str, members: set[str], max_steps: int) -> tuple[Plan | None, list[str]]:
    """The plan in a model's answer, or everything that is wrong with it."""
    found = [PlanMember(name=name, description="") for name in sorted(members)]
    steps, problems = _read(answer, found, max_steps, "")
    return (None, problems) if problems else (Plan(goal=goal, origin="planner", steps=steps), [])


def plan_note(plan: Plan, reason: str = "") -> Note:
    """The plan as people who watch or trace the run see it."""
    shown = [
        {name: value for name, value in step.to_record().items() if name not in ("input", "plan") and value}
        for step in plan.steps
    ]
    data: dict[str, Any] = {"revision": plan.revision, "origin": plan.origin, "steps": shown}
    return Note(kind="plan", data={**data, "reason": clipped(reason, 500)} if reason else data)


def _read(
    answer: str, members: Sequence[PlanMember], max_steps: int, coordinator: str, *, finished: set[str] | None = None
) -> Verdict:
    try:
        value = _json_of(answer)
    except orjson.JSONDecodeError:
        return (), ["the answer is not one JSON object"]
    names = {member.name for member in members}
    if finished is None:
        return read_steps(value, names, max_steps, coordinator)
    steps, problems = read_steps(value, names, max_steps, coordinator)
    if not steps:
        return steps, problems
    fresh = [step for step in steps if step.id not in finished]
    if not fresh:
        return steps, ["all of these steps are done already: plan what is still to be done"]
    return steps, check_steps(fresh, names, max_steps, finished=finished)


def _setback_text(plan: Plan, setback: Setback) -> str:
    done = "\n".join(f"- {name}: {clipped(_text(output), SHOWN_CHARS)}" for name, output in setback.done.items())
    return _REVISE.format(
        goal=plan.goal,
        step=setback.step,
        error=clipped(setback.error, SHOWN_CHARS),
        done=done or "(nothing)",
        open=", ".join(setback.open) or "(nothing else)",
    )


def _tries(entries: Sequence[Message], asked: Message) -> tuple[Message, ...]:
    """What was said since this was asked, by an earlier claim of the run."""
    begins = [index for index, message in enumerate(entries) if message.role == "user" and message == asked]
    return tuple(entries[begins[-1] + 1 :]) if begins else ()


def _refused(problems: Sequence[str]) -> Note:
    return Note(kind="plan_refused", data={"problems": [clipped(problem, 300) for problem in problems]})


def _no_plan(problems: Sequence[str], usage: Usage, notes: tuple[Note, ...]) -> Failed:
    message = f"the planner made no usable plan in {ATTEMPTS} tries: {'; '.join(problems)}"
    return Failed(code="bad_plan", message=message, retryable=False, usage=usage, notes=notes)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _json_of(answer: str) -> Any:
    """Models like to wrap JSON in a fence or a sentence."""
    begin, end = answer.find("{"), answer.rfind("}")
    return orjson.loads(answer[begin : end + 1] if 0 <= begin < end else answer)
