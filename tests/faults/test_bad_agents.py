"""Agents that misbehave, as their callers see it: an answer in time that says what went wrong; nobody else is hurt."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_simulator import SlackSimulator
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, result, running
from tests.support.slack_app import SECRET
from tests.support.slack_world import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

AGENT = """\
name: {name}
agent_type: demo
execution_mode: {mode}
llm_config: {llm}
slack: {{commands: [/{name}]}}
limits: {{max_attempts: {attempts}, timeout_seconds: {timeout}}}
{rest}
"""
GROWN_KIB = 150 * 1024
"""Twenty megabytes go through several hands on their way to the refusal; what grows for ever grows more."""


def agent(
    name: str, rule: str, *, rest: str = "", attempts: int = 1, timeout: float = 30, mode: str = "autonomous"
) -> str:
    llm = f"{{provider: scripted, model_id: script, script: [{rule}]}}"
    return AGENT.format(name=name, mode=mode, llm=llm, rest=rest, attempts=attempts, timeout=timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A running system, its Slack and a person in it."""

    process: EmbeddedProcess
    client: httpx2.AsyncClient
    slack: LocalSlack
    person: SlackSimulator

    async def answers(self, name: str, text: str, code: str, words: str, status: str = "failed") -> None:
        """Both callers hear that the run ended so, once and without a stack trace, and the next agent works on."""
        ended = await result(self.client, await invoke(self.client, name, text))
        assert (ended["status"], ended["error"]["code"]) == (status, code), ended
        assert words in ended["error"]["message"]
        assert "Traceback" not in str(ended)
        sent = await self.person.command(f"/{name} {text[:3000]}")
        assert sent.status == 200
        answer = await self.person.answer_to(sent)
        assert words in answer.shown, answer.shown
        assert "Traceback" not in answer.shown
        assert len([message for message in self.slack.messages if sent.is_answered_by(message)]) == 1
        await self.goes_on()

    async def goes_on(self) -> None:
        assert (await result(self.client, await invoke(self.client, "echo", "well")))["output"] == "well"
        assert self.process.process.poll() is None, self.process.told


@contextlib.asynccontextmanager
async def town(folder: Path, *, allow: str = "", **agents: str) -> AsyncIterator[Town]:
    async with LocalSlack() as slack:
        premises = Premises(folder, {"SLACK_API_URL": slack.api_url, "CALLBOARD_HTTP_ALLOW": allow})
        premises.add_agents(echo=agent("echo", '{say: "{input}"}'), **agents)
        async with (
            running(premises) as process,
            process.client() as client,
            SlackSimulator(slack, gateway_url=process.url, signing_secret=SECRET) as person,
        ):
            yield Town(process=process, client=client, slack=slack, person=person)


async def test_an_agent_that_raises_has_failed_and_says_with_what(tmp_path: Path) -> None:
    async with town(tmp_path, bomb=agent("bomb", "{error: crash}")) as here:
        await here.answers("bomb", "go", "crash", "RuntimeError")
        logged = await here.process.logged("the agent raised")
        assert "Traceback" in logged["exception"]
        assert logged["trace_id"]


async def test_an_agent_that_hangs_is_stopped_at_its_time_limit(tmp_path: Path) -> None:
    hanging = agent("hang", "{wait_seconds: 3600, say: done}", timeout=1, attempts=3)
    async with town(tmp_path, hang=hanging) as here:
        await here.answers("hang", "go", "timed_out", "1 s", status="timed_out")


async def test_an_agent_that_answers_nothing_has_failed(tmp_path: Path) -> None:
    async with town(tmp_path, mute=agent("mute", '{say: ""}'), blank=agent("blank", '{say: " \\n "}')) as here:
        await here.answers("mute", "go", "empty_answer", "nothing")
        await here.answers("blank", "go", "empty_answer", "nothing")


async def test_an_agent_that_answers_with_20_megabytes_is_refused_and_the_memory_comes_back(tmp_path: Path) -> None:
    flood = agent("flood", '{say: "' + "{input}" * 25 + '"}')
    async with town(tmp_path, flood=flood) as here:
        await here.goes_on()
        before = here.process.resident_kib()
        for _ in range(4):
            ended = await result(here.client, await invoke(here.client, "flood", "x" * 850_000))
            assert (ended["status"], ended["error"]["code"]) == ("failed", "output_too_large")
            assert "the limit is" in ended["error"]["message"]
        await here.goes_on()
        assert here.process.resident_kib() - before < GROWN_KIB
        assert not [line for line in here.process.lines if len(line) > 100_000], "the flood reached the log"


async def test_a_tool_that_answers_with_20_megabytes_is_cut_short(tmp_path: Path) -> None:
    async def flood(request: Request) -> Response:
        return PlainTextResponse("y" * 20_000_000)

    async with serve(Starlette(routes=[Route("/flood", flood)])) as url:
        rule = f'{{call: {{tool: http_get, args: {{url: "{url}/flood"}}}}, say: "got {{result}}"}}'
        fetcher = agent("fetcher", rule, rest="tools: [http_get]")
        async with town(tmp_path, allow=url.removeprefix("http://"), fetcher=fetcher) as here:
            ended = await result(here.client, await invoke(here.client, "fetcher", "go"))
            assert len(str(ended)) < 1_500_000
            assert ended["status"] in ("succeeded", "failed")
            await here.goes_on()


async def test_an_agent_that_asks_for_an_unknown_tool_is_told_which_there_are(tmp_path: Path) -> None:
    lost = agent("lost", '{call: {tool: teleport, args: {}}, say: "heard: {result}"}', rest="tools: [http_get]")
    async with town(tmp_path, lost=lost) as here:
        ended = await result(here.client, await invoke(here.client, "lost", "go"))
        assert ended["status"] == "succeeded"
        assert "there is no tool 'teleport'" in ended["output"]
        assert "http_get" in ended["output"]


async def test_a_model_without_its_key_is_said_to_the_api_and_to_slack(tmp_path: Path) -> None:
    llm = "{provider: openai, model_id: gpt-5}"
    foreign = AGENT.format(name="foreign", mode="autonomous", llm=llm, rest="", attempts=1, timeout=30)
    async with town(tmp_path, foreign=foreign) as here:
        refused = await here.client.post("/api/v1/agents/invoke", json={"agent": "foreign", "input": "go"})
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "agent_unavailable"
        assert "openai" in refused.json()["error"]["message"]
        sent = await here.person.command("/foreign go")
        answer = await here.person.answer_to(sent)
        assert "openai" in answer.shown, answer.shown
        listed = (await here.client.get("/api/v1/agents/foreign")).json()
        assert listed["status"] == "unavailable"
        await here.goes_on()


async def test_a_member_that_fails_ends_the_plan_with_the_step_that_failed(tmp_path: Path) -> None:
    team = AGENT.format(
        name="team",
        mode="collaborative",
        llm="{provider: scripted, model_id: echo}",
        rest='collaboration: {members: [bomb], plan: [{id: first, agent: bomb, input: "${input}"}]}',
        attempts=1,
        timeout=30,
    )
    async with town(tmp_path, bomb=agent("bomb", "{error: crash}"), team=team) as here:
        await here.answers("team", "go", "step_failed", "first")


async def test_a_conversation_goes_on_after_a_turn_that_raised(tmp_path: Path) -> None:
    moody = agent("moody", '{when: boom, error: crash}, {say: "turn {turn}: {input}"}', mode="continuous")
    async with town(tmp_path, moody=moody) as here:
        outputs = []
        for text in ("one", "boom", "two"):
            task = await invoke(here.client, "moody", text, conversation_id="c1")
            outputs.append((await result(here.client, task))["output"])
        assert outputs == ["turn 1: one", None, "turn 2: two"]
