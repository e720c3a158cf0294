"""kill -9 of pools in the middle of model and tool calls: the runs go on elsewhere, and nothing finished is repeated.

The ledgers are the world's: a model server's and a tool server's, which write down each request that reached them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.distributed.house import ENDED, House, house
from tests.support.distributed.cluster import CELERY, ROLES
from tests.support.distributed.nursery import Nursery
from tests.support.distributed.role_process import RoleProcess
from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.server import MODEL, RIGHT_KEY, ModelServer, model_server
from tests.support.model_servers.wire import Asked, Call, Says
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(200)]

AUTONOMOUS, CONTINUOUS, COLLABORATIVE = (
    "autonomous-agent-pool",
    "continuous-agent-runner",
    "collaborative-agent-pool",
)
RUNS = 20
PLANS = 2
EVENTS = 3
WORKER = f"""\
name: NAME
agent_type: assistant
execution_mode: MODE
llm_config: {{provider: openai, model_id: {MODEL}, base_url: "MODELS/v1"}}
tools: [{{name: http_get, after_untrusted: auto}}, {{name: http_post, after_untrusted: auto}}]
"""
TEAM = """\
name: team
agent_type: coordinator
execution_mode: collaborative
llm_config: {provider: scripted, model_id: echo}
collaboration:
  members: [worker]
  plan:
    - {id: one, agent: worker, input: "${input} one"}
    - {id: two, agent: worker, input: "${input} two", depends_on: [one]}
"""


async def test_C8_killed_workers_runs_go_on_elsewhere_without_repeating_a_finished_model_or_tool_call(
    tmp_path: Path, loaded: Nursery
) -> None:
    roles = [role for role in ROLES if role not in CELERY]
    async with (
        model_server(OpenAIWire()) as models,
        house(tmp_path, loaded.spawn, roles=roles, scale={AUTONOMOUS: 2}, OPENAI_API_KEY=RIGHT_KEY) as built,
    ):
        models.pause_seconds, built.tools.pause_seconds = 0.2, 1.0
        models.says = _Worker(built.tools.url)
        worker = WORKER.replace("MODELS", models.url)
        await built.add_agents(
            worker=worker.replace("NAME", "worker").replace("MODE", "autonomous"),
            diary=worker.replace("NAME", "diary").replace("MODE", "continuous"),
            team=TEAM,
        )
        tasks = [await built.invoke("worker", f"job {number}") for number in range(RUNS)]
        tasks += [await built.invoke("diary", f"entry {number}") for number in range(EVENTS)]
        tasks += [await built.invoke("team", f"plan {number}") for number in range(PLANS)]
        await _amid_posts(built, built.cluster.one(AUTONOMOUS))
        for role in (AUTONOMOUS, CONTINUOUS, COLLABORATIVE):
            built.cluster.one(role).kill()
        posted = {call.body for call in built.tools.calls}
        for role in (CONTINUOUS, COLLABORATIVE):
            await built.cluster.ready([built.cluster.launch(role)])
        asked = await _all_ended(built, tasks)
        runs = await built.site.query("SELECT * FROM runs")
        assert {run["status"] for run in runs} == {"succeeded"}, [run for run in runs if run["status"] != "succeeded"]
        assert len(runs) == len(tasks) + 2 * PLANS
        lost = sum(run["lease_losses"] for run in runs)
        assert lost >= 1, "somebody was killed at work"
        _check_posts(built, asked)
        _check_models(models, posted, lost)


class _Worker:
    """A model that posts its task and reads a page, in one go, and says then that it is done."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, asked: Asked) -> Says:
        if asked.result is not None:
            return Says(text=f"done: {asked.text}")
        post = {"url": f"{self._url}/calls", "body": asked.text}
        page = {"url": f"{self._url}/pages"}
        calls = (("a", "http_post", post), ("b", "http_get", page))
        return Says(
            calls=tuple(Call(id=key, name=name, arguments=json.dumps(given)) for key, name, given in calls),
            finish="tool_calls",
        )


async def _amid_posts(built: House, process: RoleProcess) -> None:
    """Returns while this process has a call under way whose effect has taken place."""

    async def has_one() -> bool:
        rows = await built.site.query(
            "SELECT trace_id FROM runs r JOIN processes p ON p.id = r.owner WHERE p.pid = $1 AND r.status = 'running'",
            process.pid,
        )
        return any(row["trace_id"] in call.traceparent for row in rows for call in built.tools.under_way)

    await wait_until(has_one, f"{process.role} posts", within=30.0)


async def _all_ended(built: House, tasks: list[str]) -> list[dict[str, Any]]:
    """The questions whether to repeat a call, each answered with no until every task has ended."""
    questions: dict[str, dict[str, Any]] = {}

    async def over() -> bool:
        async with built.cluster.client() as client:
            listed = (await client.get("/api/v1/clarifications", params={"status": "asked"})).json()["clarifications"]
            for question in listed:
                assert question["purpose"] == "repeat", question
                assert "http_post" in question["question"]
                path = f"/api/v1/clarifications/{question['clarification_id']}/answer"
                said = await client.post(path, json={"answer": False})
                assert said.status_code == 200, said.text
                questions[question["clarification_id"]] = question
        rows = await built.site.query("SELECT status FROM runs WHERE run_id = ANY($1)", tasks)
        return len(rows) == len(tasks) and all(row["status"] in ENDED for row in rows)

    await wait_until(over, "every run ends", within=60.0)
    return list(questions.values())


def _check_posts(built: House, questions: list[dict[str, Any]]) -> None:
    """Each task's one post was made at most once; one that was not made was asked about."""
    wanted = set(_inputs())
    made = Counter(call.body for call in built.tools.calls)
    assert max(made.values()) == 1, made
    assert max(Counter(call.key for call in built.tools.calls).values()) == 1
    assert len(wanted - made.keys()) <= len(questions), "what was not made, somebody did not want repeated"
    assert questions, "a call whose end nobody saw is asked about"


def _check_models(models: ModelServer, posted: set[str], lost: int) -> None:
    """Two calls of the model a task; one more only where it was under way when its process was killed."""
    before = Counter(asked.text for asked in models.asked if asked.result is None)
    after = Counter(asked.text for asked in models.asked if asked.result is not None)
    assert before.keys() == after.keys() == set(_inputs())
    assert {text: before[text] for text in posted if before[text] != 1} == {}, "finished before the kill, and repeated"
    again = sum((before + after).values()) - 2 * len(_inputs())
    assert 0 <= again <= lost, (before, after)


def _inputs() -> list[str]:
    return list(_all_inputs())


def _all_inputs() -> Iterator[str]:
    yield from (f"job {number}" for number in range(RUNS))
    yield from (f"entry {number}" for number in range(EVENTS))
    yield from (f"plan {number} {step}" for number in range(PLANS) for step in ("one", "two"))
