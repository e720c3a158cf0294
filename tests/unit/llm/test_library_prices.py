"""The library's price list, asked offline."""

from __future__ import annotations

import pytest

from callboard.llm.library_prices import library_price


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("bedrock", "meta.llama3-1-70b-instruct-v1:0"),
    ],
)
def test_well_known_models_have_a_price(provider: str, model: str) -> None:
    price = library_price(provider, model)
    assert price is not None
    assert 0.01 < price.input_usd <= price.output_usd < 1000


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("ollama", "llama3.1"), ("x", "gpt-4o")])
def test_what_the_library_does_not_list_has_none(provider: str, model: str) -> None:
    assert library_price(provider, model) is None
