"""Killed after each transaction of a plan in turn: it goes on where it was, and no step is done twice (R21)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.embedded_process import EmbeddedProcess, Premises, launch
from tests.support.waiting import wait_until

# Each kill is the start of a Python that loads everything: seconds of CPU, which three other tests want too.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

WORKER = """
name: worker
agent_type: helper
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{say: "did {input}"}]}
"""
PLAN = """
name: plan
agent_type: coordinator
execution_mode: collaborative
llm_config:
  provider: scripted
  model_id: script
  script: [{say: '{"steps": [PLANNED]}'}]
collaboration:
  members: [worker]
"""
PLANNED = (
    '{"id": "each", "agent": "worker", "for_each": ["a", "b"], "input": "${item}"}, '
    '{"id": "never", "agent": "worker", "when": "false"}, '
    '{"id": "end", "agent": "worker", "input": "${step.each.output}"}'
)
MOST_KILLS = 20


@pytest.mark.parametrize("place", ["store.settled", "store.claimed"])
async def test_a_plan_that_is_killed_after_each_of_its_transactions_comes_to_its_end(
    tmp_path: Path, place: str
) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(worker=WORKER, plan=PLAN.replace("PLANNED", PLANNED.replace("'", "''")))
    first = launch(premises)
    await first.ready()
    first.kill()
    kills, task = 0, ""
    # Each process comes as far as its first claim, or its first end of a claim, and no further. Three lost owners are
    # as many as a run may have.
    for _ in range(MOST_KILLS if place == "store.settled" else 2):
        process = launch(premises, CALLBOARD_FAILPOINT=place)
        try:
            with contextlib.suppress(AssertionError):
                await process.ready(within=30.0)
                task = task or await _invoke(process)
                await process.exit_code(within=30.0)
            if process.process.poll() is None:
                break
            kills += 1
        finally:
            process.kill()
    last = launch(premises)
    await last.ready()
    try:
        task = task or _plan_run(premises)

        async def ended() -> bool:
            return any(row["run_id"] == task and row["status"] == "succeeded" for row in _runs(premises))

        await wait_until(ended, "the plan has ended", within=30.0)
    finally:
        last.kill()
    assert kills >= (4 if place == "store.settled" else 2)
    steps = [row for row in _runs(premises) if row["parent_run_id"] == task]
    assert sorted((row["step_id"], row["status"]) for row in steps) == [
        ("each[0]", "succeeded"),
        ("each[1]", "succeeded"),
        ("end", "succeeded"),
    ]


async def _invoke(process: EmbeddedProcess) -> str:
    """Empty where the process was gone before it could say."""
    try:
        async with process.client() as http:
            answer = await http.post("/api/v1/agents/invoke", json={"agent": "plan", "input": "go"})
    except httpx2.TransportError:
        return ""
    return str(answer.json().get("task_id", ""))


def _plan_run(premises: Premises) -> str:
    return next(str(row["run_id"]) for row in _runs(premises) if row["agent"] == "plan")


def _runs(premises: Premises) -> list[dict[str, Any]]:
    return [dict(row) for row in premises.rows("select * from runs")]
