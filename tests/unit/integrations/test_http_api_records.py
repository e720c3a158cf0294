"""Lists and records over HTTP: runs, traces, agents, schedules, questions, dead letters, operations, progress."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.integrations.http_api.progress_feed import FeedLimits
from callboard.messaging.reply import ReplyTo
from callboard.state.clarifications import ClarificationKind
from callboard.state.deliveries import DeliveryDraft
from callboard.state.registered_agents import AgentStatus
from callboard.state.runs import RunStatus
from tests.support.api_house import ECHO, TESTER, ApiHouse, api_house
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SCHEDULED = """\
name: report
agent_type: reporter
execution_mode: scheduled
llm_config: {provider: scripted, model_id: echo}
schedules:
  - {id: morning, cron: "30 2 * * *", timezone: Europe/Berlin, input: "good morning"}
  - {id: often, interval_seconds: 3600}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as house:
        yield house


@pytest.fixture
async def client(house: ApiHouse) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.client() as client:
        yield client


async def get(client: httpx2.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_runs_are_listed_newest_first_in_pages_that_miss_and_repeat_none(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    tasks = [await house.invoke(client, str(number), agent=("echo", "sleeper")[number % 2]) for number in range(7)]
    await house.route()
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await get(client, "runs", limit=3, **({} if cursor is None else {"cursor": cursor}))
        seen += [run["run_id"] for run in page["runs"]]
        cursor = page["next_cursor"]
        if len(seen) == 3:
            await house.invoke(client, "new meanwhile")
            await house.route()
        if cursor is None:
            break
    assert seen == tasks[::-1]
    assert {run["agent"] for run in (await get(client, "runs", agent="sleeper"))["runs"]} == {"sleeper"}
    await house.work()
    assert [run["run_id"] for run in (await get(client, "runs", status="succeeded"))["runs"]] == [tasks[0]]
    trace_id = (await get(client, f"runs/{tasks[3]}"))["trace_id"]
    assert [run["run_id"] for run in (await get(client, "runs", trace_id=trace_id))["runs"]] == [tasks[3]]


async def test_filters_that_name_what_does_not_exist_are_refused(client: httpx2.AsyncClient) -> None:
    for path, status in (
        ("runs?agent=ecko", 404),
        ("runs?agent=%00", 404),
        ("runs?status=asleep", 422),
        ("runs?trace_id=zzz", 404),
        ("runs?limit=0", 422),
        ("runs?limit=501", 422),
        ("runs?cursor=abc", 422),
        ("agents?status=asleep", 422),
        ("agents?mode=dreaming", 422),
        ("schedules?agent=ecko", 404),
        ("schedules/history?agent=ecko", 404),
        ("clarifications?status=asleep", 422),
        ("deadletters?status=asleep", 422),
    ):
        assert (await client.get(f"/api/v1/{path}")).status_code == status, path


async def test_an_agent_that_was_removed_keeps_its_runs_and_versions(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    task = await house.invoke(client, agent="sleeper")
    await house.route()
    await house.put(removes=["sleeper"])
    assert [run["run_id"] for run in (await get(client, "runs", agent="sleeper"))["runs"]] == [task]
    assert len((await get(client, "agents/sleeper/history"))["versions"]) == 1
    assert (await client.get("/api/v1/agents/sleeper")).status_code == 404


async def test_one_run_is_shown_with_its_questions_and_messages(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await house.invoke(client, "hello")
    claimed, _ = await house.ask(ClarificationKind.CHOICE, "Which?", "a", "b")
    target = ReplyTo(channel="C1", response_url="https://hooks.slack.com/secret")
    draft = DeliveryDraft(id="d" * 32, kind="question", target=target, trace_id=claimed.run.trace_id, run_id=task)
    await house.services.deliveries.plan([draft])
    shown = await get(client, f"runs/{task}")
    assert shown["input"] == "hello"
    assert shown["clarifications"][0]["options"] == ["a", "b"]
    assert shown["deliveries"][0]["channel"] == "C1"
    assert "hooks.slack.com" not in json.dumps(shown)


async def test_a_trace_is_a_tree_from_the_event_to_the_message(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await house.invoke(client, "hello")
    claimed, _ = await house.ask(ClarificationKind.INPUT, "Name?")
    await client.post(f"/api/v1/agents/approve/{task}", json={"answer": "Ann"})
    await house.work()
    trace_id = claimed.run.trace_id
    draft = DeliveryDraft(id="d" * 32, kind="result", target=ReplyTo(channel="C1"), trace_id=trace_id, run_id=task)
    await house.services.deliveries.plan([draft])
    retried = (await client.post(f"/api/v1/runs/{task}/retry")).json()["task_id"]
    await house.work()

    story = await get(client, f"traces/{trace_id}")
    assert story["runs"] == 2
    assert story["duration_ms"] > 0
    (event,) = story["tree"]
    assert (event["kind"], event["name"]) == ("event", "api.invoke.echo")
    run = event["children"][0]
    assert (run["kind"], run["id"], run["status"]) == ("run", task, "succeeded")
    assert run["duration_ms"] > 0
    below = {child["kind"]: child for child in run["children"]}
    assert below["question"]["answered_by"] == "local"
    assert below["model"]["duration_ms"] >= 0
    assert below["delivery"]["status"] == "planned"
    assert below["event"]["children"][0]["id"] == retried
    unknown = await client.get(f"/api/v1/traces/{'1' * 32}")
    assert unknown.status_code == 404


async def test_a_long_question_is_cut_off_in_a_trace_with_a_sign(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    await house.invoke(client)
    claimed, _ = await house.ask(ClarificationKind.INPUT, "Name? " * 100)
    [event] = (await get(client, f"traces/{claimed.run.trace_id}"))["tree"]
    [name] = [node["name"] for node in event["children"][0]["children"] if node["kind"] == "question"]
    assert (len(name), name[-1]) == (120, "…")


async def test_log_lines_of_a_trace_are_read_from_the_log_folder(
    house: ApiHouse, client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    lines = [{"trace_id": mark * 32, "message": f"{mark}{number}"} for number in range(3) for mark in "ab"]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "logs" / "callboard.log").write_text(text)
    shown = await get(client, f"traces/{'a' * 32}/logs", limit=2)
    assert [line["message"] for line in shown["lines"]] == ["a1", "a2"]


async def test_agents_show_the_version_in_force_and_the_edit_that_was_refused(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    await house.reject("echo", 2, "name: echo\nschedulles: []\n")
    house.registry.set("sleeper", AgentStatus.PAUSED, "paused by tess")
    listing = await get(client, "agents")
    echo, sleeper = listing["agents"]
    assert (echo["name"], echo["version"], echo["status"]) == ("echo", 1, "available")
    assert echo["rejected"]["file"] == "agents/echo.yaml"
    assert echo["rejected"]["line"] >= 1
    assert echo["rejected"]["version"] == 2
    assert any("schedulles" in problem["message"] for problem in echo["rejected"]["problems"])
    assert "rejected" not in sleeper
    assert [agent["name"] for agent in (await get(client, "agents", status="paused"))["agents"]] == ["sleeper"]
    assert len((await get(client, "agents", type="helper", mode="autonomous"))["agents"]) == 2
    assert (await get(client, "agents", type="other"))["agents"] == []


async def test_a_refused_file_without_an_agent_in_force_is_listed_beside(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    await house.reject("fresh", 1, "name: fresh\n")
    listing = await get(client, "agents")
    assert [refused["name"] for refused in listing["rejected"]] == ["fresh"]


async def test_versions_are_compared_rolled_back_and_released(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    await house.put(ECHO.format(name="echo").replace("Says it again", "Says it twice"))
    versions = (await get(client, "agents/echo/history"))["versions"]
    assert [(each["version"], each["active"]) for each in versions] == [(2, True), (1, False)]
    changed = await get(client, "agents/echo/diff")
    assert "-description: Says it again" in changed["diff"]
    assert "+description: Says it twice" in changed["diff"]
    assert (await get(client, "agents/echo/diff", **{"from": 2, "to": 2}))["diff"] == ""
    assert (await client.get("/api/v1/agents/echo/diff", params={"to": 9})).status_code == 404

    back = (await client.post("/api/v1/agents/echo/rollback", json={})).json()
    assert (back["version"], back["pinned"], back["latest"]) == (1, True, 2)
    await house.registry.load()
    assert (await get(client, "agents/echo"))["definition"]["description"] == "Says it again"
    again = await client.post("/api/v1/agents/echo/rollback", json={})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "no_older_version")
    released = (await client.post("/api/v1/agents/echo/unpin", json={})).json()
    assert (released["version"], released["pinned"]) == (2, False)
    assert (await client.post("/api/v1/agents/echo/rollback", json={"version": 7})).status_code == 404


async def test_a_paused_agent_takes_no_work_until_it_is_resumed(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    await client.post("/api/v1/agents/echo/pause", json={})
    refused = await client.post("/api/v1/agents/invoke", json={"agent": "echo", "input": "x"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        503,
        "agent 'echo' takes no work now: paused by local",
    )
    await client.post("/api/v1/agents/echo/resume", json={})
    assert await house.invoke(client)


async def test_a_posted_file_is_checked_with_line_and_remedy(client: httpx2.AsyncClient) -> None:
    good = await client.post("/api/v1/agents/validate", json={"source": ECHO.format(name="fine")})
    assert good.json()["valid"] is True
    assert good.json()["name"] == "fine"
    bad = await client.post(
        "/api/v1/agents/validate", json={"source": ECHO.format(name="x") + "tools: [http_gett]\n", "path": "x.yaml"}
    )
    (problem,) = bad.json()["problems"]
    assert (problem["file"], problem["line"]) == ("x.yaml", 6)
    assert "http_get" in problem["hint"]


async def test_schedules_are_listed_previewed_fired_and_paused(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    await house.put(SCHEDULED)
    listing = (await get(client, "schedules"))["schedules"]
    assert [schedule["id"] for schedule in listing] == ["report.morning", "report.often"]
    assert (await get(client, "schedules", agent="report"))["schedules"] == listing
    start = {"start": "2026-03-28T12:00:00Z", "schedule": "morning", "count": 2}
    (preview,) = (await get(client, "schedules/report/preview", **start))["previews"]
    assert "clocks go forward" in preview["times"][0]["note"]

    many = await client.post("/api/v1/schedules/report/run", json={})
    assert many.status_code == 422
    fired = await client.post("/api/v1/schedules/report/run", json={"schedule": "morning"})
    assert fired.status_code == 202
    claimed = await house.work()
    assert claimed.run.run_id == fired.json()["task_id"]
    assert claimed.input == "good morning"
    history = (await get(client, "schedules/history", agent="report"))["occurrences"]
    assert [each["task_id"] for each in history] == [claimed.run.run_id]

    paused = (await client.post("/api/v1/schedules/report/pause", json={"schedule": "often"})).json()
    assert paused == {"schedules": ["report.often"], "paused": True}
    assert [each["paused"] for each in (await get(client, "schedules"))["schedules"]] == [False, True]
    await client.post("/api/v1/schedules/report/resume", json={})
    assert not any(each["paused"] for each in (await get(client, "schedules"))["schedules"])
    for path in ("schedules/ecko/run", "schedules/report/run"):
        unknown = await client.post(f"/api/v1/{path}", json={"schedule": "never"})
        assert unknown.status_code == 404


async def test_a_dead_letter_is_shown_requeued_once_or_dropped(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    await house.invoke(client)
    claimed = await house.work()
    stored = await house.services.queries.event(claimed.run.event_id)
    assert stored is not None
    heard = house.bus.listen(["api.invoke.echo"])
    await heard.wait()
    letter = await house.dead_letter(stored.event.to_json(), stored.event.event_id)
    assert [each["id"] for each in (await get(client, "deadletters", status="kept"))["dead_letters"]] == [letter]
    assert stored.event.event_id in (await get(client, f"deadletters/{letter}"))["body"]

    requeued = await client.post(f"/api/v1/deadletters/{letter}/requeue", json={})
    assert requeued.json()["status"] == "requeued"
    async with asyncio.timeout(30):
        await heard.wait()
    again = await client.post(f"/api/v1/deadletters/{letter}/requeue", json={})
    assert again.status_code == 409

    odd = await house.dead_letter(b"\x00\xff no event")
    refused = await client.post(f"/api/v1/deadletters/{odd}/requeue", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not_an_event")
    assert (await get(client, f"deadletters/{odd}"))["status"] == "kept"
    assert (await client.post(f"/api/v1/deadletters/{odd}/drop", json={})).json()["status"] == "dropped"
    assert (await client.post(f"/api/v1/deadletters/{'f' * 32}/drop", json={})).status_code == 404
    actions = [each["action"] for each in (await get(client, "operations"))["operations"]]
    assert actions[:2] == ["deadletter.drop", "deadletter.requeue"]


async def test_operations_name_who_did_what_in_pages(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    for _ in range(3):
        task = await house.invoke(client)
        await house.route()
        await client.post(f"/api/v1/agents/cancel/{task}", json={})
    page = await get(client, "operations", limit=2)
    rest = await get(client, "operations", limit=2, cursor=page["next_cursor"])
    assert len(page["operations"]) == 2
    assert page["operations"][0]["actor"]["id"] == "local"
    assert {each["id"] for each in page["operations"]}.isdisjoint({each["id"] for each in rest["operations"]})


async def test_status_counts_what_there_is(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    await house.invoke(client)
    await house.route()
    await house.dead_letter(b"x")
    status = await get(client, "status")
    assert status["agents"] == {"available": 2}
    assert status["backlog"] == [{"status": "queued", "mode": "autonomous", "lane": "interactive", "count": 1}]
    assert status["dead_letters"] == 1
    assert status["health"]["status"] == "healthy"
    metrics = (await client.get("/metrics")).text
    assert 'runs_queued{lane="interactive",mode="autonomous"} 1.0' in metrics
    assert 'runs_running{mode="autonomous"} 0.0' in metrics
    assert "dead_letters 1.0" in metrics


async def test_health_is_503_when_a_check_fails(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health")).json()["status"] == "healthy"

    async def broken() -> None:
        raise OSError("password=hunter2")

    house.services.health.register("disk", broken)
    answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert "hunter2" not in answer.text


async def test_progress_comes_as_it_happens_ends_with_the_result_and_can_be_resumed(tmp_path: Path) -> None:
    async with (
        api_house(tmp_path, serve=True, feed_limits=FeedLimits(poll_seconds=30)) as house,
        house.client() as client,
    ):
        task = await house.invoke(client)
        got: list[tuple[str, str, Any]] = []

        async def read() -> None:
            async with client.stream("GET", f"/api/v1/runs/{task}/events") as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                fields: dict[str, str] = {}
                async for line in response.aiter_lines():
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    elif "data" in fields:
                        got.append((fields["id"], fields["event"], json.loads(fields["data"])))
                        fields = {}

        reading = asyncio.create_task(read())
        claimed = await house.claim()
        await house.note(task, 1, "fetching", url="http://x")
        house.bus.signal("run.requested.x")
        await wait_until(lambda: got, "the first line arrives while the run goes on")
        assert got[0][1:] == ("fetching", {**got[0][2], "data": {"url": "http://x"}})
        await house.settle(claimed, RunStatus.SUCCEEDED, output="done")
        await reading
        assert [(number, name) for number, name, _ in got] == [("1", "fetching"), ("2", "status"), ("2", "end")]
        assert got[-1][2]["output"] == "done"

        resumed = await client.get(f"/api/v1/runs/{task}/events", headers={"last-event-id": "1"})
        assert "fetching" not in resumed.text
        assert "event: status" in resumed.text
        over = await client.get(f"/api/v1/runs/{task}/events", headers={"last-event-id": "2"})
        assert "event: end" in over.text
        assert "event: status" not in over.text
        assert (await client.get(f"/api/v1/runs/{task}/events", headers={"last-event-id": "x"})).status_code == 422
        assert (await client.get(f"/api/v1/runs/{'f' * 32}/events")).status_code == 404


async def test_streams_are_bounded_and_end_when_the_server_stops(tmp_path: Path) -> None:
    async with api_house(tmp_path, serve=True, feed_limits=FeedLimits(streams=1)) as house, house.client() as client:
        task = await house.invoke(client)
        async with client.stream("GET", f"/api/v1/runs/{task}/events") as response:
            lines = response.aiter_lines()
            await anext(lines)
            refused = await client.get(f"/api/v1/runs/{task}/events")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_streams")
            house.api.close_streams()
            assert [line async for line in lines if line.startswith("event:")] == []


async def test_who_cancelled_is_on_record(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await house.invoke(client)
    await house.route()
    await house.store.request_cancel(task, TESTER)
    assert (await get(client, "operations"))["operations"][0]["actor"]["id"] == "tess"
