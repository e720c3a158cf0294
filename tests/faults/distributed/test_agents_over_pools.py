"""What agents do when their runs are spread over two pools: people's answers, money, breakers, tools of every kind.

All of it goes on over one cluster, each part with agents and servers of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.distributed.house import House, house
from tests.support.distributed.cluster import CELERY, ROLES
from tests.support.distributed.nursery import Nursery
from tests.support.mcp_web import McpWeb, mcp_web
from tests.support.mcp_world import listed
from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.server import MODEL, RIGHT_KEY, ModelServer, model_server
from tests.support.model_servers.wire import Asked, Fault, Says
from tests.support.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(200)]

POOL = "autonomous-agent-pool"
MOST_ROUNDS = 20
PRICES = f"""\
prices:
  - {{provider: openai, model: {MODEL}, input_usd: 0, output_usd: 1000}}
"""
# 200 tokens of output at most, and each answer says all of them.
CALL_USD = 0.2
SPENDER = f"""\
name: spender
agent_type: assistant
execution_mode: autonomous
llm_config: {{provider: openai, model_id: {MODEL}, base_url: "MODELS/v1", max_tokens: 200}}
limits: {{daily_cost_usd: 1.00}}
"""
CALLER = f"""\
name: caller
agent_type: assistant
execution_mode: autonomous
llm_config: {{provider: openai, model_id: {MODEL}, base_url: "MODELS/v1"}}
"""
SCRIPTED = """\
name: NAME
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {SCRIPT, say: "{SAID}"}
tools: [TOOLS]
"""
SENDER = (
    SCRIPTED.replace("NAME", "sender")
    .replace("SCRIPT", 'call: {tool: http_post, args: {url: "URL/calls", body: "{input}"}}')
    .replace("SAID", "result")
    .replace("TOOLS", "{name: http_post, approval: ask}")
)
CHOOSER = (
    SCRIPTED.replace("NAME", "chooser")
    .replace("SCRIPT", 'ask: {question: "Where to?", options: [Berlin, Paris]}')
    .replace("SAID", "answer")
    .replace("TOOLS", "")
)
SEARCHER = (
    SCRIPTED.replace("NAME", "searcher")
    .replace("SCRIPT", 'call: {tool: web__look, args: {text: "{input}"}}')
    .replace("SAID", "result")
    .replace("TOOLS", '{mcp: {name: web, url: "URL"}, allow: [look]}')
)
CLERK = (
    SCRIPTED.replace("NAME", "clerk")
    .replace("SCRIPT", "call: {tool: add, args: {left: 2, right: 3}}")
    .replace("SAID", "result")
    .replace("TOOLS", "add")
)
ADD = '''\
from callboard.tools import tool


@tool(idempotent=True)
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right
'''


async def test_G2_G4_G6_answers_money_breakers_and_tools_hold_over_two_pools(tmp_path: Path, loaded: Nursery) -> None:
    root = tmp_path / "site"
    root.mkdir()
    (root / "models.yaml").write_text(PRICES)
    roles = [role for role in ROLES if role not in CELERY]
    async with (
        model_server(OpenAIWire()) as dear,
        model_server(OpenAIWire()) as shaky,
        mcp_web(listed("look")) as web,
        house(
            tmp_path, loaded.spawn, roles=roles, scale={POOL: 2}, reaches=[web.authority], OPENAI_API_KEY=RIGHT_KEY
        ) as built,
    ):
        await built.add_agents(
            spender=SPENDER.replace("MODELS", dear.url),
            caller=CALLER.replace("MODELS", shaky.url),
            sender=SENDER.replace("URL", built.tools.url),
            chooser=CHOOSER,
            searcher=SEARCHER.replace("URL", web.url),
        )
        await _an_open_breaker_is_everybodys(built, shaky)  # by itself: it has a time of its own
        async with asyncio.TaskGroup() as parts:
            parts.create_task(_a_dollar_is_a_dollar(built, dear))
            parts.create_task(_answers_reach_the_pools(built))
            parts.create_task(_a_server_of_tools(built, web))
            parts.create_task(_a_tool_of_the_project(built))


async def _a_dollar_is_a_dollar(built: House, models: ModelServer) -> None:
    """Fifty runs at once; what the provider was asked for is what it would bill."""
    models.pause_seconds = 0.1
    models.says = lambda asked: Says(text="so much", output_tokens=200)
    tasks = await asyncio.gather(*(built.invoke("spender", f"write {number}") for number in range(50)))
    await _ended_or_asking(built, tasks)
    assert 4 <= len(models.asked) <= 5, "never over the dollar"
    (asking,) = {question["details"]["name"]: question for question in await _questions(built, tasks)}.values()
    assert asking["details"]["spent_usd"] == pytest.approx(len(models.asked) * CALL_USD)
    await _answer(built, asking["task_id"], "+ $1")
    await wait_until(lambda: len(models.asked) >= 9, "the second dollar is spent", within=30.0)
    await _ended_or_asking(built, tasks)
    assert len(models.asked) <= 10, "never over two dollars"


async def _an_open_breaker_is_everybodys(built: House, models: ModelServer) -> None:
    down = 40
    models.faults = [Fault(status=503)] * down
    first = [await built.invoke("caller", f"first {number}") for number in range(10)]

    async def opened() -> bool:
        return bool(await built.site.query("SELECT 1 FROM provider_states WHERE open_until > now()"))

    await wait_until(opened, "the breaker opens", within=30.0)
    await let_pass(1.5, "every pool hears of it")
    known = len(models.asked)
    assert known < 20, "five failures in a row, and what was under way"
    second = await asyncio.gather(*(built.invoke("caller", f"second {number}") for number in range(20)))
    await _all_paused(built, second)
    asked_again = len(models.asked) - known
    if await opened():  # else this machine was too slow to tell: a probe may have been made
        assert asked_again == 0, "nobody asks a provider that another pool has found to be down"
    busiest = _Busiest()
    models.faults, models.says, models.pause_seconds = [], busiest, 0.5
    for task in (*first, *second):
        assert (await built.ended(task, within=60.0))["status"] == "succeeded"

    async def shared() -> bool:
        return await _pools_that_did(built, {*first, *second}) == 2

    await wait_until(shared, "both pools have worked")
    assert busiest.second_after >= 0.5, "one probe, and the others only once it was answered"


class _Busiest:
    """Notes how long after the first request the second came; it is called when a request's pause is over."""

    def __init__(self) -> None:
        self._times: list[float] = []

    @property
    def second_after(self) -> float:
        return self._times[1] - self._times[0]

    def __call__(self, asked: Asked) -> Says:
        self._times.append(time.monotonic())
        return Says(text=f"answered {asked.text}")


async def _answers_reach_the_pools(built: House) -> None:
    """The api takes the answer, and has no pool: whoever is free goes on."""
    sending = [await built.invoke("sender", f"letter {number}") for number in range(4)]
    choosing = [await built.invoke("chooser", f"trip {number}") for number in range(4)]
    for task in sending:
        await _answer(built, task, True)
    for task in choosing:
        await _answer(built, task, "Paris")
    for number, task in enumerate(sending):
        assert await _output(built, task) == f"noted letter {number}"
    for task in choosing:
        assert await _output(built, task) == "Paris"
    assert Counter(call.body for call in built.tools.calls) == {f"letter {number}": 1 for number in range(4)}


async def _a_server_of_tools(built: House, web: McpWeb) -> None:
    made = await _until_both_pools(built, "searcher", "look done")
    assert len(web.calls) == made, "each call once"
    assert len(web.sessions) == 2, "one session a pool"


async def _a_tool_of_the_project(built: House) -> None:
    """Dropped in while the pools run; the agent that uses it is for a moment known without it."""
    folder = built.site.root / "tools"
    folder.mkdir()
    (folder / "sums.py").write_text(ADD)
    await built.add_agents(clerk=CLERK)
    async with built.cluster.client() as client:

        async def accepted() -> bool:
            answer = await client.post("/api/v1/agents/invoke", json={"agent": "clerk", "input": "go"})
            return answer.status_code == 202

        await wait_until(accepted, "the tool is known")
    await _until_both_pools(built, "clerk", "5")


async def _until_both_pools(built: House, agent: str, output: str) -> int:
    """Asks the agent until either pool has answered; how often."""
    tasks: set[str] = set()
    for _ in range(MOST_ROUNDS):
        begun = await asyncio.gather(*(built.invoke(agent, f"go {number}") for number in range(10)))
        tasks.update(begun)
        for task in begun:
            assert await _output(built, task) == output
        if await _pools_that_did(built, tasks) == 2:
            return len(tasks)
    raise AssertionError(f"only one pool has worked for {agent}")


async def _output(built: House, task: str) -> str:
    """What the API gives as the result of a task, once that has ended."""
    await built.ended(task)
    async with built.cluster.client() as client:
        result = (await client.get(f"/api/v1/agents/result/{task}")).json()
    return str(result["output"] if result["status"] == "succeeded" else result)


async def _pools_that_did(built: House, tasks: set[str]) -> int:
    return sum(
        any(record.get("run_id") in tasks and record["message"] == "run succeeded" for record in process.records())
        for process in built.cluster.of(POOL)
    )


async def _ended_or_asking(built: House, tasks: list[str]) -> None:
    async def rested() -> bool:
        rows = await built.site.query("SELECT status, waiting_id FROM runs WHERE run_id = ANY($1)", tasks)
        return len(rows) == len(tasks) and all(row["status"] == "succeeded" or row["waiting_id"] for row in rows)

    await wait_until(rested, "all have ended or ask", within=60.0)


async def _all_paused(built: House, tasks: list[str]) -> None:
    async def waiting() -> bool:
        rows = await built.site.query(
            "SELECT DISTINCT run_id FROM progress WHERE run_id = ANY($1) AND kind = 'paused'", tasks
        )
        return len(rows) == len(tasks)

    await wait_until(waiting, "all have waited for the provider", within=30.0)


async def _questions(built: House, tasks: list[str]) -> list[dict[str, Any]]:
    async with built.cluster.client() as client:
        query: dict[str, str | int] = {"status": "asked", "limit": 200}
        found = (await client.get("/api/v1/clarifications", params=query)).json()["clarifications"]
    return [question for question in found if question["task_id"] in tasks]


async def _answer(built: House, task: str, answer: Any) -> None:
    """Answers what a task asks, once it does."""

    async def asks() -> bool:
        async with built.cluster.client() as client:
            status = (await client.get(f"/api/v1/agents/status/{task}")).json()
        return bool(status["status"] == "waiting" and status["waiting_for"]["id"])

    await wait_until(asks, f"{task} asks", within=30.0)
    async with built.cluster.client() as client:
        said = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": answer})
    assert said.status_code == 200, said.text
