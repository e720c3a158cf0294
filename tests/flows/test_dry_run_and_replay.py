"""Dry runs and replays, from the request to what is told of them: the world outside sees nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.tool_server import ToolServer
from tests.support.waiting import wait_until

SENDER = """
name: sender
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_post, args: {url: "URL/calls", body: "BODY"}}, say: "It said: {result}"}
tools:
  - name: http_post
    APPROVAL
slack: {commands: [/send]}
"""
FETCHER = """
name: fetcher
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_get, args: {url: "URL/pages"}}, say: "Read: {result}"}
tools: [http_get]
"""
ASKER = """
name: asker
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {ask: {question: "Which city?", options: [Berlin, Paris]}, say: "You said {answer}."}
"""
KEEPER = """
name: keeper
agent_type: helper
execution_mode: continuous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {say: "turn {turn}: {input}"}
"""
BOSS = """
name: boss
agent_type: coordinator
execution_mode: collaborative
llm_config: {provider: scripted, model_id: echo}
collaboration:
  members: [sender, keeper]
  aggregate: last
  approve_plan: APPROVE
  plan:
    - {id: first, agent: sender, input: "${input}"}
    - {id: second, agent: sender, input: "after ${step.first.output}"}
"""
LISTENER = """
name: listener
agent_type: helper
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
subscriptions: ["agent.output.keeper", "run.succeeded.sender"]
"""


@pytest.fixture
def callboard(callboard_in_world: Callboard) -> Callboard:
    return callboard_in_world


async def put(callboard: Callboard, name: str, text: str, world: ToolServer, **parts: str) -> dict[str, Any]:
    for word, value in {"URL": world.url, "APPROVAL": "approval: auto", "BODY": "{input}", **parts}.items():
        text = text.replace(word, value)
    return await callboard.write(name, text)


async def replayed(callboard: Callboard, run: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ended replay and its comparison."""
    accepted = await callboard.post(f"runs/{run}/replay", **more)
    assert accepted["replay_of"] == run
    result = await callboard.ended(accepted["task_id"])
    return result, await callboard.get(f"runs/{accepted['task_id']}/comparison")


async def test_a_dry_run_posts_nothing_and_tells_what_it_would_have_posted(
    callboard: Callboard, world: ToolServer
) -> None:
    await put(callboard, "sender", SENDER, world)
    await put(callboard, "listener", LISTENER, world)
    task = await callboard.invoke("sender", "hello", dry_run=True)
    result = await callboard.ended(task)
    arguments = {"url": f"{world.url}/calls", "body": "hello"}
    assert result["status"] == "succeeded"
    assert result["output"].startswith("It said: dry run: not carried out: http_post with")
    assert (result["dry"], result["would_ask"]) == (True, [])
    assert result["would_do"] == [{"step": "", "tool": "http_post", "key": "/0/0", "arguments": arguments}]
    shown = await callboard.get(f"runs/{task}")
    assert (shown["dry"], shown["would_do"]) == (True, result["would_do"])
    story = await callboard.get(f"traces/{result['trace_id']}")
    (call,) = [node for node in nodes(story["tree"]) if node["kind"] == "tool"]
    assert (call["status"], call["rehearsal"]) == ("would_do", "would_do")
    again = await callboard.post(f"runs/{task}/retry")
    assert (await callboard.ended(again["task_id"]))["dry"] is True
    real = await callboard.invoke("sender", "in earnest")
    await callboard.ended(real)
    assert [call.body for call in world.calls] == ["in earnest"]

    async def heard() -> list[dict[str, Any]]:
        return await callboard.runs_of("listener")

    runs = await wait_until(heard, "somebody hears of the run in earnest")
    assert len(runs or []) == 1


def nodes(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for node in tree for each in (node, *nodes(node["children"]))]


async def test_a_dry_run_really_reads(callboard: Callboard, world: ToolServer) -> None:
    await put(callboard, "fetcher", FETCHER, world)
    result = await callboard.ended(await callboard.invoke("fetcher", "go", dry_run=True))
    assert result["output"] == "Read: page 1"
    assert (result["would_do"], world.reads) == ([], 1)


async def test_a_dry_run_asks_nobody_and_notes_what_it_would_ask(callboard: Callboard, world: ToolServer) -> None:
    await put(callboard, "asker", ASKER, world)
    asked = await callboard.ended(await callboard.invoke("asker", "go", dry_run=True))
    assert asked["output"] == "You said dry run: nobody was asked."
    (question,) = asked["would_ask"]
    assert (question["purpose"], question["question"], question["options"]) == (
        "question", "Which city?", ["Berlin", "Paris"],
    )  # fmt: skip
    await put(callboard, "sender", SENDER, world, APPROVAL="approval: ask")
    sent = await callboard.ended(await callboard.invoke("sender", "hello", dry_run=True))
    assert [each["purpose"] for each in sent["would_ask"]] == ["approval"]
    assert [each["tool"] for each in sent["would_do"]] == ["http_post"]
    assert (await callboard.get("clarifications"))["clarifications"] == []
    assert world.calls == []


async def test_a_read_that_people_must_allow_is_not_made_in_a_dry_run(callboard: Callboard, world: ToolServer) -> None:
    guarded = FETCHER.replace("tools: [http_get]", "tools: [{name: http_get, approval: ask}]")
    await put(callboard, "fetcher", guarded, world)
    result = await callboard.ended(await callboard.invoke("fetcher", "go", dry_run=True))
    assert [each["tool"] for each in result["would_do"]] == ["http_get"]
    assert world.reads == 0


async def test_I13_a_replay_comes_to_the_same_and_has_no_further_effect(
    callboard: Callboard, world: ToolServer
) -> None:
    await put(callboard, "sender", SENDER, world)
    task = await callboard.invoke("sender", "hello")
    first = await callboard.ended(task)
    result: dict[str, Any] = {}
    for _ in range(2):
        result, told = await replayed(callboard, task)
        assert result["output"] == first["output"] == "It said: noted hello"
        assert (told["equal"], told["same_calls"], told["output"]["diff"]) == (True, True, "")
        assert [(call["change"], call["same_result"]) for call in told["calls"]] == [("same", True)]
        assert told["status"] == {"origin": "succeeded", "replay": "succeeded"}
        assert told["usage"]["origin"] == told["usage"]["replay"]
        assert told["would_do"] == []
    assert [call.body for call in world.calls] == ["hello"]
    shown = await callboard.get(f"runs/{result['task_id']}")
    assert (shown["origin_run_id"], shown["dry"], shown["variant"]) == (task, True, {"origin": task})
    assert shown["trace_id"] == first["trace_id"]
    of_replay, told = await replayed(callboard, result["task_id"])
    assert (of_replay["output"], told["equal"]) == (first["output"], True)
    assert (await callboard.call("POST", f"/api/v1/runs/{result['task_id']}/retry")).status_code == 409


async def test_a_replay_by_another_version_shows_what_changed(callboard: Callboard, world: ToolServer) -> None:
    await put(callboard, "sender", SENDER, world)
    task = await callboard.invoke("sender", "hello")
    await callboard.ended(task)
    await put(callboard, "sender", SENDER, world, BODY="dear all, {input}")
    result, told = await replayed(callboard, task, agent_version=2)
    assert result["output"].startswith("It said: dry run: not carried out")
    assert (told["equal"], told["same_calls"]) == (False, False)
    (call,) = told["calls"]
    assert (call["change"], call["tool"], call["replay"]["arguments"]["body"]) == (
        "changed", "http_post", "dear all, hello",
    )  # fmt: skip
    assert "-It said: noted hello" in told["output"]["diff"].splitlines()
    assert [each["arguments"]["body"] for each in told["would_do"]] == ["dear all, hello"]
    as_it_was, same = await replayed(callboard, task)
    assert (as_it_was["output"], same["equal"]) == ("It said: noted hello", True)
    other, told = await replayed(callboard, task, model="scripted/echo")
    assert (other["output"], told["calls"][0]["change"]) == ("hello", "missing")
    assert [call.body for call in world.calls] == ["hello"]


async def test_a_replay_of_a_replay_has_the_model_of_that_unless_another_one_is_named(
    callboard: Callboard, world: ToolServer
) -> None:
    await put(callboard, "sender", SENDER, world)
    task = await callboard.invoke("sender", "hello")
    await callboard.ended(task)
    other, _ = await replayed(callboard, task, model="scripted/echo")
    again, told = await replayed(callboard, other["task_id"])
    assert (other["output"], again["output"], told["equal"]) == ("hello", "hello", True)
    assert told["variant"] == {"origin": other["task_id"], "model": "scripted/echo"}
    third, told = await replayed(callboard, again["task_id"])
    assert (third["output"], told["variant"]["model"]) == ("hello", "scripted/echo")
    named, told = await replayed(callboard, other["task_id"], model="scripted/script")
    assert named["output"].startswith("It said: dry run: not carried out")
    assert (told["equal"], told["variant"]["model"]) == (False, "scripted/script")


async def test_a_replay_is_answered_as_the_run_was(callboard: Callboard, world: ToolServer) -> None:
    await put(callboard, "sender", SENDER, world, APPROVAL="approval: ask")
    await put(callboard, "asker", ASKER, world)
    edited = {"url": f"{world.url}/calls", "body": "thank everybody"}
    for agent, answer in (
        ("sender", {"approved": True, "arguments": edited}),
        ("sender", {"approved": False, "reason": "not on a Saturday"}),
        ("asker", "Paris"),
    ):
        task = await callboard.invoke(agent, "fire everybody")
        await callboard.post(f"clarifications/{await open_question(callboard)}/answer", answer=answer)
        first = await callboard.ended(task)
        before = len(world.calls)
        result, told = await replayed(callboard, task)
        assert (result["output"], told["equal"], result["would_ask"]) == (first["output"], True, [])
        assert len(world.calls) == before
    assert [call.body for call in world.calls] == ["thank everybody"]


async def test_a_continuous_agent_remembers_nothing_of_a_rehearsal(callboard: Callboard, world: ToolServer) -> None:
    await put(callboard, "keeper", KEEPER, world)
    await put(callboard, "listener", LISTENER, world)
    tasks = [await callboard.invoke("keeper", word) for word in ("one", "two", "three")]
    outputs = [(await callboard.ended(task))["output"] for task in tasks]
    assert outputs == ["turn 1: one", "turn 2: two", "turn 3: three"]
    dry = await callboard.ended(await callboard.invoke("keeper", "what if", dry_run=True))
    assert dry["output"] == "turn 4: what if"
    for task, output in zip(tasks, outputs, strict=True):
        result, told = await replayed(callboard, task)
        assert (result["output"], told["equal"]) == (output, True)
    four = await callboard.ended(await callboard.invoke("keeper", "four"))
    assert four["output"] == "turn 4: four"

    async def heard() -> bool:
        return len(await callboard.runs_of("listener")) >= 4

    await wait_until(heard, "the outputs in earnest are heard")
    assert len(await callboard.runs_of("listener")) == 4


@pytest.mark.slow
async def test_a_plan_is_rehearsed_with_its_steps_and_replayed_from_one(
    callboard: Callboard, world: ToolServer
) -> None:
    await put(callboard, "sender", SENDER, world, APPROVAL="after_untrusted: auto")
    await put(callboard, "keeper", KEEPER, world)
    await put(callboard, "boss", BOSS, world, APPROVE="true")
    dry = await callboard.ended(await callboard.invoke("boss", "go", dry_run=True))
    assert [each["purpose"] for each in dry["would_ask"]] == ["plan"]
    assert [(each["step"], each["tool"]) for each in dry["would_do"]] == [
        ("first", "http_post"), ("second", "http_post"),
    ]  # fmt: skip
    assert world.calls == []
    task = await callboard.invoke("boss", "go")
    await callboard.post(f"clarifications/{await open_question(callboard)}/answer", answer=True)
    first = await callboard.ended(task)
    assert first["status"] == "succeeded", first
    sent = [call.body for call in world.calls]
    result, told = await replayed(callboard, task)
    assert (result["output"], told["equal"], told["same_calls"]) == (first["output"], True, True), told
    assert [(step["step"], step["change"]) for step in told["steps"]] == [("first", "same"), ("second", "same")]
    result, told = await replayed(callboard, task, from_step="second")
    assert (result["output"], told["equal"]) == (first["output"], True)
    assert [step["step"] for step in told["steps"]] == ["second"]
    assert [call.body for call in world.calls] == sent
    step = told["steps"][0]
    assert (step["change"], step["status"]) == ("same", "succeeded")
    refused = await callboard.call("POST", f"/api/v1/runs/{task}/replay", json={"from_step": "nowhere"})
    assert refused.status_code == 404


async def test_what_cannot_be_replayed_is_told(callboard: Callboard, world: ToolServer) -> None:
    await put(callboard, "sender", SENDER, world)
    task = await callboard.invoke("sender", "hello")
    await callboard.ended(task)
    gone = "0" * 32
    for run, body, status, said in (
        (gone, {}, 404, "were deleted after the days that runs are kept"),
        (task, {"agent_version": 7}, 404, "version"),
        (task, {"model": "nobody/any"}, 422, "is no model"),
        (task, {"model": "scripted/any"}, 422, "no model 'any'"),
        (task, {"from_step": "a"}, 409, "has no plan"),
    ):
        refused = await callboard.call("POST", f"/api/v1/runs/{run}/replay", json=body)
        assert (refused.status_code, said in refused.text) == (status, True), refused.text
    alone = await callboard.call("GET", f"/api/v1/runs/{task}/comparison")
    assert (alone.status_code, alone.json()["error"]["code"]) == (409, "not_a_replay")


async def open_question(callboard: Callboard) -> str:
    async def asked() -> Any:
        found = (await callboard.get("clarifications", status="asked"))["clarifications"]
        return found[0]["clarification_id"] if found else None

    return str(await wait_until(asked, "somebody is asked"))
