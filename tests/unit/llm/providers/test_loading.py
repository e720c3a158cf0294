"""Libraries of providers are loaded by who asks such a provider, and by nobody else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["anthropic", "boto3", "genai_prices", "openai", "pydantic_ai"]
CODE = """
import asyncio, json, sys
import callboard.bootstrap.workshop, callboard.bootstrap.distributed.agent_pools, callboard.bootstrap.distributed.api
from callboard.bootstrap.models import make_factory
from callboard.clock import SystemClock
from callboard.llm.provider import LLMConfig, LLMRequest, Message
from callboard.llm.errors import LLMServiceUnavailableError
from callboard.settings import Settings

def loaded():
    return [name for name in json.loads(sys.argv[1]) if name in sys.modules]

async def main():
    steps = [loaded()]
    settings = Settings(openai_api_key="k", anthropic_api_key="k", aws_access_key_id="k", aws_secret_access_key="k",
                        aws_region="eu-central-1", aws_endpoint_url_bedrock_runtime="http://127.0.0.1:9")
    factory = make_factory(settings, {}, SystemClock())
    asked = LLMRequest(messages=(Message(role="user", content="hello"),))
    for name in ("openai", "anthropic", "bedrock"):
        provider = factory.create_provider(LLMConfig(provider=name, model_id="m", base_url="http://127.0.0.1:9/v1"))
        provider.estimate_tokens(asked.messages)
        steps.append(loaded())
        try:
            await provider.complete(asked)
        except LLMServiceUnavailableError:
            pass
        steps.append(loaded())
        await provider.close()
    print(json.dumps(steps))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_provider_s_libraries_are_loaded_with_its_first_call() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(HEAVY)], capture_output=True, text=True, check=True, timeout=150
    )
    start, openai_made, openai_asked, anthropic_made, anthropic_asked, bedrock_made, bedrock_asked = json.loads(
        ran.stdout
    )
    assert start == openai_made == []
    assert openai_asked == anthropic_made
    assert {"openai", "pydantic_ai"} <= set(openai_asked)
    assert not {"anthropic", "boto3"} & set(openai_asked)
    assert "anthropic" in anthropic_asked
    assert "boto3" not in bedrock_made
    assert "boto3" in bedrock_asked
