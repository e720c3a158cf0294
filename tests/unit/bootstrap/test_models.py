"""What a process has of model providers' keys, and what it says of those it lacks."""

from __future__ import annotations

import pytest

from callboard.bootstrap.models import make_factory, provider_access
from callboard.clock import ManualClock
from callboard.errors import CallboardError
from callboard.llm.provider import LLMConfig
from callboard.settings import Settings


def test_a_process_that_runs_agents_says_which_keys_it_lacks() -> None:
    factory = make_factory(Settings(openai_api_key="k"), {}, ManualClock())
    assert factory.why_unavailable("openai") is None
    assert "ANTHROPIC_API_KEY" in (factory.why_unavailable("anthropic") or "")
    assert factory.why_unavailable("anthropic", base_url="http://127.0.0.1:1") is None


def test_a_process_without_keys_judges_nobody() -> None:
    factory = make_factory(Settings(), {}, ManualClock(), judges=False)
    assert [factory.why_unavailable(name) for name in factory.list_providers()] == [None] * 5


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_BEARER_TOKEN_BEDROCK"])
def test_aws_keys_may_be_elsewhere(name: str) -> None:
    environment = {name: "x", "AWS_DEFAULT_REGION": "eu-central-1"}
    assert "bedrock" not in provider_access(Settings(), environment).missing()
    assert "bedrock" in provider_access(Settings(), {name: ""}).missing()


def test_an_address_from_the_environment_must_be_there_and_must_not_be_the_platform_s() -> None:
    factory = make_factory(Settings(), {"MODELS": "http://127.0.0.1:1", "DATABASE_URL": "x"}, ManualClock())
    factory.create_provider(LLMConfig(provider="openai", model_id="m", base_url="${env:MODELS}/v1"))
    for refused in ("${env:DATABASE_URL}", "${env:NOBODY}"):
        with pytest.raises(CallboardError):
            factory.create_provider(LLMConfig(provider="openai", model_id="m", base_url=refused))
