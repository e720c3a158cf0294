"""From an agent's configuration to its provider, and what a call costs."""

from __future__ import annotations

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.llm.pricing import Price, PriceTable
from callboard.llm.provider import LLMConfig
from callboard.llm.provider_factory import NOT_IN_THIS_RELEASE, LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider


def factory() -> LLMProviderFactory:
    return LLMProviderFactory(
        {"scripted": lambda config: ScriptedProvider(config, ManualClock())},
        unavailable={"openai": "set OPENAI_API_KEY", "scripted": "never"},
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


@pytest.mark.parametrize("provider", ["anthropic", "openai", "bedrock", "ollama"])
def test_a_provider_of_a_later_release_is_known_and_says_so(provider: str) -> None:
    known = LLMProviderFactory({}, unavailable=NOT_IN_THIS_RELEASE)
    with pytest.raises(UnavailableError, match=f"'{provider}' cannot be used: this release has no adapter"):
        known.create_provider(LLMConfig(provider=provider, model_id="x"))


@pytest.mark.parametrize(
    ("provider", "model", "cost"),
    [("scripted", "echo", 0.0), ("ollama", "x", 0.0), ("openai", "m", 0.012), ("openai", "n", None)],
)
def test_a_model_without_a_price_has_no_cost_rather_than_none_to_pay(
    provider: str, model: str, cost: float | None
) -> None:
    table = PriceTable({("openai", "m"): Price(input_usd=2.0, output_usd=10.0)})
    assert table.cost(provider, model, input_tokens=1000, output_tokens=1000) == cost
