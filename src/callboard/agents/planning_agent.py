"""The planner: asks a model for a plan and accepts it only if it can be carried out."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from callboard.agents.mapping import referred_steps
from callboard.errors import InvalidInputError
from callboard.llm.provider import LLMProvider, LLMRequest, Message, PlanMember, PlanRequest
from callboard.state.plans import Plan, PlanStep

ATTEMPTS = 3
INSTRUCTIONS = """You plan work for a team. Answer with one JSON object and nothing else:
{{"steps": [{{"id": "…", "agent": "…", "input": "…", "depends_on": ["…"]}}]}}
Use only these agents, at most {max_steps} steps, each id once. "input" is what the agent is told; it may contain
${{input}} (the goal) and ${{step.ID.output}} (the output of a step named in depends_on).
Agents:
{members}"""


class _Step(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    agent: str
    input: JsonValue = "${input}"
    depends_on: tuple[str, ...] = ()


class _Steps(BaseModel):
    model_config = ConfigDict(extra="ignore")
    steps: tuple[_Step, ...] = Field(min_length=1)


class PlanningAgent:
    """Makes plans with any provider; what is wrong with an answer is told to the model, which may try again."""

    def __init__(self, provider: LLMProvider) -> None:
        self._provider = provider

    async def create_plan(self, goal: str, members: Sequence[PlanMember], *, max_steps: int) -> Plan:
        """Raises InvalidInputError (`bad_plan`) with the last answer's problems, and what the provider raises."""
        listing = "\n".join(
            f"- {member.name}: {member.description} ({', '.join(member.capabilities) or 'no labels'})"
            for member in members
        )
        messages = [
            Message(role="system", content=INSTRUCTIONS.format(max_steps=max_steps, members=listing)),
            Message(role="user", content=goal),
        ]
        wanted = PlanRequest(goal=goal, members=tuple(members), max_steps=max_steps)
        problems: list[str] = []
        for _ in range(ATTEMPTS):
            response = await self._provider.complete(LLMRequest(messages=tuple(messages), plan=wanted))
            plan, problems = read_plan(response.content, goal, {member.name for member in members}, max_steps)
            if plan is not None:
                return plan
            messages.append(Message(role="assistant", content=response.content))
            messages.append(Message(role="user", content="This plan cannot be used: " + "; ".join(problems)))
        raise InvalidInputError(
            f"the planner made no usable plan in {ATTEMPTS} tries: {'; '.join(problems)}", code="bad_plan"
        )


def read_plan(answer: str, goal: str, members: set[str], max_steps: int) -> tuple[Plan | None, list[str]]:
    """The plan in a model's answer, or everything that is wrong with it."""
    try:
        parsed = _Steps.model_validate(_json_of(answer))
    except orjson.JSONDecodeError:
        return None, ["the answer is not one JSON object"]
    except ValidationError as error:
        return None, [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    steps = tuple(
        PlanStep(id=step.id, agent=step.agent, input=step.input, depends_on=step.depends_on) for step in parsed.steps
    )
    problems = check_steps(steps, members, max_steps)
    return (None, problems) if problems else (Plan(goal=goal, origin="planner", steps=steps), [])


def check_steps(steps: Sequence[PlanStep], members: set[str], max_steps: int) -> list[str]:
    """What rules a plan out: unknown agents or steps, cycles, references that cannot resolve, too many steps."""
    ids = [step.id for step in steps]
    problems = [f"step id '{name}' is used twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    if len(steps) > max_steps:
        problems.append(f"{len(steps)} steps are more than the {max_steps} allowed")
    for step in steps:
        if step.agent not in members:
            problems.append(f"step '{step.id}': '{step.agent}' is none of {', '.join(sorted(members))}")
        problems += [
            f"step '{step.id}' waits for '{name}', which is no step" for name in step.depends_on if name not in ids
        ]
        problems += [
            f"step '{step.id}' uses the output of '{name}' without depending on it"
            for name in referred_steps(step.input)
            if name not in step.depends_on
        ]
    try:
        TopologicalSorter({step.id: step.depends_on for step in steps}).prepare()
    except CycleError as error:
        problems.append("the steps wait for each other: " + " → ".join(error.args[1]))
    return problems


def _json_of(answer: str) -> Any:
    """Models like to wrap JSON in a fence or a sentence."""
    begin, end = answer.find("{"), answer.rfind("}")
    return orjson.loads(answer[begin : end + 1] if 0 <= begin < end else answer)
