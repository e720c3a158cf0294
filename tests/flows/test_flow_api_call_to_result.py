"""A call of the HTTP API, to the result and the progress on the way."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard

ECHO = """
name: echo
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
"""


@pytest.mark.slow
async def test_flow_api_call_to_result(callboard: Callboard) -> None:
    await callboard.write("echo", ECHO)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    body = {"agent": "echo", "input": "hello", "idempotency_key": "k1"}
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    accepted = await callboard.call("POST", "/api/v1/agents/invoke", json=body, headers=headers)
    assert accepted.status_code == 202
    task = accepted.json()
    assert (task["status"], task["trace_id"]) == ("queued", trace_id)

    result = await callboard.ended(task["task_id"])
    assert (result["status"], result["output"], result["error"]) == ("succeeded", "hello", None)
    assert result["usage"]["input_tokens"] > 0

    again = await callboard.call("POST", "/api/v1/agents/invoke", json=body)
    assert again.json()["task_id"] == task["task_id"]
    other = await callboard.call("POST", "/api/v1/agents/invoke", json={**body, "input": "other"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert len(await callboard.runs_of("echo")) == 1

    progress = await callboard.call("GET", f"/api/v1/runs/{task['task_id']}/events")
    names = [line.removeprefix("event: ") for line in progress.text.splitlines() if line.startswith("event: ")]
    assert names[-1] == "end"


@pytest.mark.slow
async def test_an_agent_that_does_not_exist_is_refused_at_the_border(callboard: Callboard) -> None:
    await callboard.write("echo", ECHO)
    refused = await callboard.call("POST", "/api/v1/agents/invoke", json={"agent": "ecko", "input": "hello"})
    assert refused.status_code == 404
    assert "echo" in refused.json()["error"]["message"]
