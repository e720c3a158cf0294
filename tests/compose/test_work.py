"""What a team does with the stack all day, over every service."""

from __future__ import annotations

import json

import httpx2
import pytest

from tests.compose.team import Team
from tests.support.processes import ROOT
from tests.support.travel_team import CHOOSER, SCOUT
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(700)]

TRIP = """
name: trip
agent_type: coordinator
execution_mode: collaborative
llm_config: {provider: scripted, model_id: echo}
collaboration:
  members: [scout, chooser]
  plan:
    - {id: look, agent: scout, input: "${input}"}
    - {id: choose, agent: chooser, input: "Of: ${step.look.output}", depends_on: [look]}
slack: {commands: [/trip]}
"""
GREETER = """
name: greeter
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{say: "Hello! You wrote: {input}"}]}
slack: {commands: [/hello]}
"""
DIARY = """
name: diary
agent_type: assistant
execution_mode: continuous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: slow, wait_seconds: 3, say: "entry {turn}: {input}"}
    - {say: "entry {turn}: {input}"}
"""

ARTIST = """
name: artist
agent_type: analyst
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - call: {tool: chart, args: {kind: bar, title: "{input}", x: [Jan, Feb], series: [{name: sold, values: [3, 5]}]}}
      say: "{result}"
tools: [{name: chart, approval: ask}]
slack: {commands: [/draw]}
"""


async def test_every_sample_agent_takes_work(team: Team) -> None:
    samples = {path.stem for path in (ROOT / "config/agents").glob("*.yaml")}
    statuses = {agent["name"]: agent["status"] for agent in (await team.get("agents"))["agents"]}
    assert {name: statuses.get(name) for name in samples} == dict.fromkeys(samples, "available")


async def test_a_call_that_somebody_approves_is_made_and_its_trace_and_cost_are_shown(team: Team) -> None:
    await team.drop("artist", ARTIST)
    async with team.anna() as anna:
        await anna.command("/draw Sales")
        question = await team.message(lambda message: "chart" in message.text and bool(message.buttons), "the question")
        assert await team.runs_of("artist", status="waiting")
        asked = (await team.get("clarifications", status="asked"))["clarifications"]
        (approval,) = [each for each in asked if each["purpose"] == "approval" and each["tool"] == "chart"]
        assert approval["arguments"]["title"] == "Sales"
        clicked = await anna.click(question, question.buttons[0]["text"]["text"])
        assert clicked.status == 200
    (run,) = await team.runs_of("artist")
    result = await team.ended(run["run_id"])
    assert result["status"] == "succeeded", result
    drawn = (await team.get(f"runs/{run['run_id']}/artifacts"))["artifacts"]
    assert [each["name"] for each in drawn] == ["Sales.png", "Sales.json"], result
    shown = str((await team.get(f"traces/{run['trace_id']}"))["tree"])
    assert "chart" in shown
    (line,) = [line for line in (await team.get("costs", by="agent"))["costs"] if line["agent"] == "artist"]
    assert line["usd"] == result["cost_usd"] > 0


async def test_a_signed_command_is_answered_and_its_logs_tell_the_whole_way(team: Team) -> None:
    async with team.anna() as anna:
        sent = await anna.command("/echo hello from a container")
        answer = await anna.answer_to(sent)
    assert sent.status == 200
    assert answer.text == "hello from a container"
    (run,) = (await team.get("runs", agent="example-autonomous", limit=1))["runs"]
    assert run["trace_id"] in answer.shown

    def told() -> set[str]:
        lines = team.stack.log_lines(run["trace_id"])
        assert all(json.loads(line)["trace_id"] == run["trace_id"] for _, line in lines), lines
        return {service for service, _ in lines}

    whole = {"slack-gateway", "agent-orchestrator", "autonomous-agent-pool"}
    await wait_until(lambda: whole <= told(), f"docker-compose logs | grep {run['trace_id']} shows {whole}")


async def test_a_request_to_the_api_can_be_followed_through_the_logs(team: Team) -> None:
    (task,) = await team.invoke("example-autonomous", "by the API")
    assert (await team.ended(task))["output"] == "by the API"
    trace = (await team.get(f"agents/status/{task}"))["trace_id"]
    whole = {"api", "agent-orchestrator", "autonomous-agent-pool"}
    await wait_until(
        lambda: whole <= {service for service, _ in team.stack.log_lines(trace)},
        f"docker-compose logs | grep {trace} shows {whole}",
    )


async def test_an_unsigned_command_is_refused_and_the_api_wants_its_token(team: Team) -> None:
    async with httpx2.AsyncClient(trust_env=False) as nobody:
        forged = await nobody.post(f"{team.stack.url('gateway')}/slack/commands", data={"command": "/echo"})
        assert forged.status_code == 401
        assert (await nobody.get(f"{team.stack.url('api')}/api/v1/agents")).status_code == 401


async def test_a_cron_tick_fires_once(team: Team) -> None:
    async def fired() -> list[dict[str, str]]:
        found = (await team.get("schedules/history", agent="minutely"))["occurrences"]
        return [each for each in found if each["task_id"]]

    latest = (await wait_until(fired, "the cron schedule fires within a minute and a little", within=90))[0]
    assert (await team.ended(latest["task_id"]))["output"] == "another minute"
    times = [each["nominal_time"] for each in await fired()]
    assert len(times) == len(set(times))
    whole = {"celery-worker", "agent-orchestrator", "autonomous-agent-pool"}
    await wait_until(
        lambda: whole <= {service for service, _ in team.stack.log_lines(latest["trace_id"])},
        f"docker-compose logs | grep {latest['trace_id']} shows {whole}",
    )


async def test_a_dropped_file_is_an_agent_and_a_broken_one_changes_nothing(team: Team) -> None:
    await team.drop("greeter", GREETER)
    async with team.anna() as anna:
        answer = await anna.answer_to(await anna.command("/hello Anna"))
    assert answer.text == "Hello! You wrote: Anna"

    (team.agents / "greeter.yaml").write_text(GREETER.replace("agent_type: assistant", "agent_typ: assistant"))

    async def refused() -> dict[str, object] | None:
        rejected: dict[str, object] | None = (await team.get("agents/greeter")).get("rejected")
        return rejected

    problem = await wait_until(refused, "the listing says what is wrong with the file")
    assert problem is not None
    assert (problem["line"], "agent_typ" in str(problem["message"])) == (3, True)
    (task,) = await team.invoke("greeter", "Ben")
    assert (await team.ended(task))["output"] == "Hello! You wrote: Ben"


async def test_a_plan_stops_for_an_answer_and_goes_on(team: Team) -> None:
    await team.drop("scout", SCOUT)
    await team.drop("chooser", CHOOSER)
    await team.drop("trip", TRIP)
    async with team.anna() as anna:
        await anna.command("/trip a weekend")
        question = await team.message(lambda message: "Where to?" in message.text, "the question")
        await anna.click(question, "Paris")
        await team.message(lambda message: message.text == "Paris", "the plan's answer")
    plan = (await team.runs_of("trip"))[0]
    shown = await team.get(f"runs/{plan['run_id']}")
    assert (shown["status"], shown["output"]) == ("succeeded", "Paris")
    assert [step["status"] for step in shown["steps"]] == ["succeeded", "succeeded"]


async def test_a_continuous_agent_remembers_over_the_kill_of_its_container(team: Team) -> None:
    await team.drop("diary", DIARY)
    (first,) = await team.invoke("diary", "milk")
    assert (await team.ended(first))["output"] == "entry 1: milk"
    (second,) = await team.invoke("diary", "slow bread")
    (third,) = await team.invoke("diary", "coffee")

    async def under_way() -> bool:
        status: str = (await team.get(f"agents/status/{second}"))["status"]
        return status == "running"

    await wait_until(under_way, "the second event is being worked on")
    team.stack.kill("continuous-agent-runner")
    assert (await team.ended(second, within=60))["output"] == "entry 2: slow bread"
    assert (await team.ended(third))["output"] == "entry 3: coffee"
