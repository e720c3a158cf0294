"""From an agent's configuration to its provider, and what a call costs."""

from __future__ import annotations

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.llm.pricing import Price, PriceTable
from callboard.llm.provider import LLMConfig
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider


def factory() -> LLMProviderFactory:
    return LLMProviderFactory(
        {"scripted": lambda config: ScriptedProvider(config, ManualClock())},
        unavailable={"openai": "set OPENAI_API_KEY"},
    )


def test_a_known_provider_is_built() -> None:
    assert isinstance(factory().create_provider(LLMConfig(provider="scripted", model_id="echo")), ScriptedProvider)
    assert factory().why_unavailable("scripted") is None


def test_an_unknown_provider_is_a_value_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown model provider 'opneai'; known are: openai, scripted"):
        factory().create_provider(LLMConfig(provider="opneai", model_id="x"))


def test_a_provider_that_cannot_be_used_says_why() -> None:
    with pytest.raises(UnavailableError, match="'openai' cannot be used: set OPENAI_API_KEY") as caught:
        factory().create_provider(LLMConfig(provider="openai", model_id="x"))
    assert caught.value.code == "provider_unavailable"


def test_a_server_of_one_s_own_needs_no_key() -> None:
    assert factory().why_unavailable("openai", base_url="http://127.0.0.1:8000/v1") is None
    bedrock = LLMProviderFactory({}, unavailable={"bedrock": "set AWS_ACCESS_KEY_ID"})
    assert bedrock.why_unavailable("bedrock", base_url="http://127.0.0.1:8000") is not None


@pytest.mark.parametrize(
    ("provider", "model", "cost"),
    [("scripted", "echo", 0.0), ("ollama", "x", 0.0), ("openai", "m", 0.012), ("openai", "n", None)],
)
def test_a_model_without_a_price_has_no_cost_rather_than_none_to_pay(
    provider: str, model: str, cost: float | None
) -> None:
    table = PriceTable({("openai", "m"): Price(input_usd=2.0, output_usd=10.0)})
    assert table.cost(provider, model, input_tokens=1000, output_tokens=1000) == cost
