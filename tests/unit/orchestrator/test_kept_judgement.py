"""Judging an agent once a second, and no oftener."""

from __future__ import annotations

from callboard.clock import ManualClock
from callboard.config.definition import AgentDefinition
from callboard.orchestrator.kept_judgement import KEPT_SECONDS, KeptJudgement


def agent(name: str) -> AgentDefinition:
    return AgentDefinition.model_validate(
        {
            "name": name,
            "agent_type": "test",
            "execution_mode": "autonomous",
            "llm_config": {"provider": "scripted", "model_id": "echo"},
        }
    )


async def test_an_agent_is_judged_again_after_a_second() -> None:
    clock, reasons, asked = ManualClock(), {"a": "no key"}, []

    def judge(definition: AgentDefinition) -> str | None:
        asked.append(definition.name)
        return reasons.get(definition.name)

    kept, first, other = KeptJudgement(judge, clock), agent("a"), agent("b")
    assert [kept.why_unavailable(first) for _ in range(3)] == ["no key"] * 3
    assert kept.why_unavailable(other) is None
    assert asked == ["a", "b"]
    del reasons["a"]
    await clock.advance(KEPT_SECONDS)
    assert kept.why_unavailable(first) is None


def test_another_version_of_an_agent_is_judged_by_itself() -> None:
    asked = []
    kept = KeptJudgement(lambda definition: asked.append(definition.description), ManualClock())
    for _ in range(2):
        kept.why_unavailable(agent("a"))
    assert len(asked) == 2
