"""Agents whose models are real servers: the whole system in one process, several providers at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.support.embedded_process import Premises, invoke, result, running
from tests.support.model_servers.houses import WIRES
from tests.support.model_servers.server import MODEL, RIGHT_KEY, model_server
from tests.support.model_servers.wire import Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

AGENT = """\
name: {name}-agent
agent_type: demo
execution_mode: autonomous
llm_config: {{provider: {name}, model_id: {model}}}
instructions: Be brief.
limits: {{max_attempts: 2, timeout_seconds: 60}}
"""


async def test_agents_of_four_providers_answer_and_a_wrong_key_reaches_nobody(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(model_server(wire())) for name, wire in WIRES.items()}
        premises = Premises(
            tmp_path,
            {
                "OPENAI_API_KEY": RIGHT_KEY,
                "OPENAI_BASE_URL": f"{servers['openai'].url}/v1",
                "ANTHROPIC_API_KEY": "wrong-key-0815",
                "ANTHROPIC_BASE_URL": servers["anthropic"].url,
                "AWS_ACCESS_KEY_ID": "AKIATEST",
                "AWS_SECRET_ACCESS_KEY": RIGHT_KEY,
                "AWS_REGION": "eu-central-1",
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": servers["bedrock"].url,
                "OLLAMA_HOST": servers["ollama"].url,
            },
        )
        premises.add_agents(**{name: AGENT.format(name=name, model=MODEL) for name in WIRES})
        servers["anthropic"].checks_key = servers["openai"].checks_key = True
        servers["openai"].faults.append(Fault(status=429, headers={"Retry-After": "1"}))
        process = await stack.enter_async_context(running(premises))
        client = await stack.enter_async_context(process.client())
        asked = {name: await invoke(client, f"{name}-agent", "hello") for name in WIRES}
        ended = {name: await result(client, task) for name, task in asked.items()}
    for name in ("bedrock", "ollama", "openai"):
        assert (ended[name]["status"], ended[name]["output"]) == ("succeeded", "You said: hello"), ended[name]
        assert ended[name]["usage"]["input_tokens"] == 10
    assert len(servers["openai"].asked) == 2, "it came again when it was told to"
    refused = ended["anthropic"]
    assert (refused["status"], refused["error"]["code"]) == ("failed", "provider_authentication")
    assert "ANTHROPIC_API_KEY" in refused["error"]["message"]
    for secret in (RIGHT_KEY, "wrong-key-0815"):
        assert secret not in str(ended)
        assert secret not in process.told
