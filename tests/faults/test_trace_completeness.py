"""I-4: every stage of every run is in the logs and in the trace, under one trace id from the request to the message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.integrations.slack_local import LocalSlack
from callboard.tracing import is_trace_id
from tests.support import storm as storms
from tests.support.checker import MARKER, Records, come_to_rest, read_records
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, result, running
from tests.support.storm import Storm
from tests.support.tool_server import ToolServer, tool_server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

REQUESTS = 260
LEAST_RUNS = 300
FIELDS = {"timestamp", "level", "component", "message", "trace_id"}


async def test_I4_every_run_can_be_followed_by_its_trace_id(tmp_path: Path) -> None:
    async with LocalSlack() as slack, tool_server() as tools:
        premises = Premises(tmp_path, {"SLACK_API_URL": slack.api_url, "CALLBOARD_HTTP_ALLOW": tools.authority})
        premises.add_agents(**storms.agents(tools.url))
        async with running(premises) as process, process.client() as client:
            await _work(premises, process, client, Storm(slack, random.Random(4)))  # noqa: S311  # moments
            records = await read_records(premises)
            assert len(records.runs) >= LEAST_RUNS
            with contextlib.suppress(AssertionError):  # the list below says more
                await wait_until(lambda: not any(_missing_lines(process, records)), "the last lines are written")
            missing = list(_missing_lines(process, records))
            missing += [each async for each in _missing_nodes(client, records)]
            missing += _untraced_calls(tools, records)
            assert not missing, f"{len(missing)} stages are missing: {missing[:10]}"
            _commands_show_the_way(premises, process, records)


async def test_I4_a_traceparent_is_honoured_from_the_request_to_the_log(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(echo=storms.agents("")["echo"])
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with (
        running(premises) as process,
        process.client(traceparent=f"00-{trace}-00f067aa0ba902b7-01") as client,
    ):
        task = await invoke(client, "echo", "hello")
        assert (await result(client, task))["trace_id"] == trace

        def followed() -> bool:
            said = {record["message"] for record in process.records() if record["trace_id"] == trace}
            return {"task accepted", "event routed", "run started", "run succeeded"} <= said

        await wait_until(followed, "every stage is in the log under that trace id")


async def _work(premises: Premises, process: EmbeddedProcess, client: httpx2.AsyncClient, storm: Storm) -> None:
    await storm.against(process)
    clicking = asyncio.create_task(storm.click_questions())
    try:
        async with asyncio.TaskGroup() as tasks:
            storm.round(0, REQUESTS, 2.0, tasks)
        assert (await client.post("/api/v1/schedules/pulse/pause", json={})).status_code == 200
        await come_to_rest(premises, process)
    finally:
        clicking.cancel()
        await asyncio.gather(clicking, return_exceptions=True)
        await storm.close()


def _missing_lines(process: EmbeddedProcess, records: Records) -> Iterator[str]:
    """Each line is one JSON object with its fields; each run has a line for each stage."""
    said: defaultdict[str, set[str]] = defaultdict(set)
    of_run: defaultdict[str, set[str]] = defaultdict(set)
    for line in process.lines:
        record = json.loads(line)
        assert isinstance(record, dict), line
        assert record.keys() >= FIELDS, line
        said[record["trace_id"]].add(record["message"])
        of_run[str(record.get("run_id"))].add(record["message"])
    for run in records.runs:
        for stage in ("run started", "run succeeded"):
            if stage not in of_run[run["run_id"]]:
                yield f"{stage!r} of {run['agent']}"
        accepted = said[run["trace_id"]] & {"event accepted", "task accepted", "scheduled task published"}
        if not accepted or "event routed" not in said[run["trace_id"]]:
            yield f"the way in of {run['agent']}: {said[run['trace_id']]}"
    for delivery in records.deliveries:
        if "message sent" not in said[delivery["trace_id"]]:
            yield f"'message sent' of {delivery['kind']}"


async def _missing_nodes(client: httpx2.AsyncClient, records: Records) -> AsyncIterator[str]:
    """The tree of each trace has the event, the runs with their model calls, tools, questions and deliveries."""
    for trace_id in sorted({run["trace_id"] for run in records.runs}):
        answer = await client.get(f"/api/v1/traces/{trace_id}")
        assert answer.status_code == 200, answer.text
        nodes = list(_flat(answer.json()["tree"]))
        seen = {(node["kind"], node["id"].partition("/")[0]) for node in nodes}
        for run in (run for run in records.runs if run["trace_id"] == trace_id):
            wanted = {("run", run["run_id"])}
            wanted |= set() if run["parent_run_id"] else {("event", run["event_id"])}
            wanted |= set() if run["mode"] == "collaborative" else {("model", run["run_id"])}
            wanted |= {("tool", run["run_id"])} if run["agent"] == "poster" else set()
            for kind, _ in wanted - seen:
                yield f"{kind} in the trace of {run['agent']}"
        for row in (*records.deliveries, *records.questions):
            kind = "question" if "question" in row else "delivery"
            if row["trace_id"] == trace_id and (kind, row["id"]) not in seen:
                yield f"{kind} in the trace {trace_id}"
        for node in nodes:
            if node["kind"] in ("run", "tool", "model", "question") and node["duration_ms"] is None:
                yield f"the end of {node['kind']} {node['name']}"


def _flat(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        yield node
        yield from _flat(node["children"])


def _untraced_calls(tools: ToolServer, records: Records) -> list[str]:
    """What left the house for other systems carries the trace id too."""
    traces = {marker: event["trace_id"] for marker, events in records.events.items() for event in events}
    assert tools.calls
    return [
        f"traceparent {call.traceparent!r} of {call.body}"
        for call in tools.calls
        if call.traceparent.split("-")[1:2] != [traces[MARKER.findall(call.body)[0]]]
    ]


def _commands_show_the_way(premises: Premises, process: EmbeddedProcess, records: Records) -> None:
    """`callboard logs` and `callboard trace` show it to people."""
    run = next(run for run in records.runs if run["agent"] == "team" and run["reply_to"] not in (None, "null"))
    assert is_trace_id(run["trace_id"])
    shown = premises.command("logs", run["trace_id"])
    assert shown.returncode == 0, shown.stderr
    for stage in ("event accepted", "event routed", "plan made", "run started", "run succeeded", "message sent"):
        assert stage in shown.stdout, f"{stage}\n{shown.stdout}"
    lines = premises.command("logs", run["trace_id"], "-o", "json").stdout.splitlines()
    assert {json.loads(line)["trace_id"] for line in lines} == {run["trace_id"]}
    traced = premises.command("trace", run["trace_id"], CALLBOARD_API_URL=process.url)
    assert traced.returncode == 0, traced.stderr
    for word in ("team", "poster", "asker", "http_post"):
        assert word in traced.stdout, traced.stdout
    unknown = premises.command("logs", "f" * 32)
    assert unknown.returncode == 3
