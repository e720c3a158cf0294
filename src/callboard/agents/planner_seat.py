"""What the planner's model calls need, taken from the agent that it plans for and the run under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from callboard.agents.engine import Answer, Journal, OnText, QuestionRules
from callboard.agents.engines.human_question import question_rules
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.model_config import model_config
from callboard.clock import Clock
from callboard.config.definition import QuestionSettings
from callboard.llm.provider import LLMConfig, LLMProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSeat:
    """An `Asker` for one claim of a collaborative run."""

    config: LLMConfig
    provider: LLMProvider
    journal: Journal
    clock: Clock
    deadline: float | None
    answers: Mapping[str, Answer]
    questions: QuestionRules | None = None
    on_text: OnText | None = None

    @classmethod
    def of(cls, agent: ExecutionAgent, assignment: Assignment, clock: Clock) -> Self:
        asked = agent.definition.questions
        return cls(
            config=model_config(agent.definition.llm_config),
            provider=agent.provider,
            journal=assignment.journal,
            clock=clock,
            deadline=assignment.deadline,
            answers=assignment.answers,
            questions=None if asked == QuestionSettings() else question_rules(asked),
        )
