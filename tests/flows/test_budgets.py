"""Money: what agents spend is held back before it is spent, people are asked, and everybody sees where it went."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.system import Callboard, Start, callboard_at
from tests.support.waiting import wait_until

PRICES = """
prices: [{provider: scripted, model: echo, input_usd: 1000, output_usd: 1000}]
"""
# 400 characters are 100 tokens read and 100 written: $0.20 a call, $0.30 at the worst.
SAID = "x" * 400


def agent(name: str, limits: str) -> str:
    return f"""
name: {name}
agent_type: assistant
execution_mode: autonomous
llm_config: {{provider: scripted, model_id: echo, max_tokens: 200}}
limits: {{{limits}}}
"""


async def question_of(callboard: Callboard, task_id: str) -> dict[str, Any]:
    """The question that the run waits for."""

    async def waits() -> Any:
        status = await callboard.get(f"agents/status/{task_id}")
        assert status["status"] != "failed", await callboard.get(f"agents/result/{task_id}")
        return status.get("waiting_for")

    waiting = await wait_until(waits, "the run waits for somebody")
    assert waiting["kind"] == "budget"
    asked = (await callboard.get("clarifications"))["clarifications"]
    found: dict[str, Any] = next(question for question in asked if question["clarification_id"] == waiting["id"])
    return found


@pytest.fixture
async def priced(tmp_path: Any, start: Start) -> Any:
    (tmp_path / "models.yaml").write_text(PRICES)
    async with callboard_at(tmp_path, start) as running:
        yield running


@pytest.mark.slow
async def test_G4_a_run_over_its_budget_asks_and_goes_on_with_one_dollar_more(priced: Callboard) -> None:
    await priced.write("writer", agent("writer", "max_cost_usd: 0.25"))
    task = await priced.invoke("writer", SAID)
    question = await question_of(priced, task)
    assert question["options"] == ["+ $1", "stop"]
    assert "$0.25" in question["question"]
    await priced.post(f"agents/approve/{task}", answer="+ $1")
    result = await priced.ended(task)
    assert (result["status"], result["output"]) == ("succeeded", SAID)
    assert result["cost_usd"] == pytest.approx(0.2)


@pytest.mark.slow
async def test_G4_stop_ends_a_run_over_its_budget(priced: Callboard) -> None:
    await priced.write("writer", agent("writer", "max_cost_usd: 0.25"))
    task = await priced.invoke("writer", SAID)
    await question_of(priced, task)
    await priced.post(f"agents/approve/{task}", answer="stop")
    result = await priced.ended(task)
    assert (result["status"], result["error"]["code"], result["cost_usd"]) == ("failed", "budget_exceeded", 0.0)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_G4_fifty_runs_at_once_never_spend_more_than_a_dollar(priced: Callboard) -> None:
    """Until somebody grants more, by one answer for all of them."""
    await priced.write("writer", agent("writer", "daily_cost_usd: 1.00"))
    tasks = await asyncio.gather(*(priced.invoke("writer", SAID) for _ in range(50)))

    async def settled() -> Any:
        statuses = await asyncio.gather(*(priced.get(f"agents/status/{task}") for task in tasks))
        done = [each["status"] for each in statuses]
        waiting = [each for each in statuses if each["status"] == "waiting" and each["waiting_for"]["id"]]
        return (done.count("succeeded"), len(waiting)) if done.count("succeeded") + len(waiting) == 50 else None

    succeeded, _ = await wait_until(settled, "all runs have ended or ask", within=60)
    spent = (await priced.get("costs", by="agent"))["costs"][0]
    assert spent["usd"] == pytest.approx(0.2 * succeeded)
    assert succeeded == 4  # after four of $0.20 the worst of the next is $0.30: more than is left
    asking = (await priced.get("clarifications", status="asked"))["clarifications"]
    await priced.post(f"agents/approve/{asking[0]['task_id']}", answer="+ $1")

    async def went_on() -> bool:
        answered = await settled()
        return answered is not None and answered[0] == 9

    await wait_until(went_on, "the dollar is spent and the others ask again", within=60)
    assert (await priced.get("costs", by="agent"))["costs"][0]["usd"] == pytest.approx(1.8)


@pytest.mark.slow
async def test_a_model_of_unknown_price_is_refused_where_a_budget_applies(priced: Callboard) -> None:
    """Nobody is asked, since no answer would make it known."""
    await priced.write(
        "writer",
        agent("writer", "max_cost_usd: 5").replace(
            "{provider: scripted, model_id: echo, max_tokens: 200}",
            '{provider: openai, model_id: my-own, base_url: "http://127.0.0.1:9/v1"}',
        ),
    )
    result = await priced.ended(await priced.invoke("writer", "hello"))
    assert (result["status"], result["error"]["code"]) == ("failed", "unknown_price")
    assert "config/models.yaml" in result["error"]["message"]


CHANNEL = """
prices: [{provider: scripted, model: echo, input_usd: 1000, output_usd: 1000}]
budgets: {channels: {"#general": 0.25}}
"""


@pytest.mark.slow
async def test_a_channel_has_its_own_budget_and_asks_there(tmp_path: Path, start: Start) -> None:
    (tmp_path / "models.yaml").write_text(CHANNEL)
    async with callboard_at(tmp_path, start) as callboard, callboard.person() as anna:
        await callboard.write("writer", agent("writer", "max_attempts: 1") + "slack: {commands: [/write]}\n")
        await anna.command(f"/write {SAID}")
        question = await callboard.message(lambda message: bool(message.buttons), "the channel is asked for money")
        assert "$0.25" in question.shown
        assert "Channel C0GENERAL" in question.shown
        assert [button["text"]["text"] for button in question.buttons] == ["+ $1", "stop"]
        clicked = await anna.click(question, "+ $1")
        assert clicked.status == 200
        (run,) = await callboard.runs_of("writer")
        assert (await callboard.ended(run["run_id"]))["status"] == "succeeded"
        (line,) = (await callboard.get("costs", by="channel"))["costs"]
        assert (line["channel"], line["usd"]) == ("C0GENERAL", pytest.approx(0.2))


@pytest.mark.slow
async def test_G4_the_steps_of_a_plan_share_its_budget(priced: Callboard) -> None:
    await priced.write("writer", agent("writer", "max_cost_usd: 5"))
    await priced.write("team", TEAM)
    task = await priced.invoke("team", SAID)

    async def asked() -> Any:
        questions = (await priced.get("clarifications", status="asked"))["clarifications"]
        return next((each for each in questions if each["purpose"] == "budget"), None)

    question = await wait_until(asked, "the second step asks for money")
    assert question["details"]["name"] == task
    assert question["details"]["spent_usd"] == pytest.approx(0.2)
    await priced.post(f"agents/approve/{task}", answer="+ $1")
    assert (await priced.ended(task))["status"] == "succeeded"


TEAM = """
name: team
agent_type: assistant
execution_mode: collaborative
llm_config: {provider: scripted, model_id: script, script: [{say: "never asked"}]}
limits: {max_cost_usd: 0.45}
collaboration:
  members: [writer]
  plan:
    - {id: one, agent: writer, input: "${input}"}
    - {id: two, agent: writer, input: "${input}", depends_on: [one]}
"""
