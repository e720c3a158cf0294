"""What a call costs: written prices, the library's, assumed ones, and none."""

from __future__ import annotations

import pytest

from callboard.llm.library_prices import library_price
from callboard.llm.pricing import Price, PriceRule, PriceTable

CHEAP, DEAR, EXACT = (Price(input_usd=n, output_usd=2 * n) for n in (1.0, 5.0, 3.0))


def known(provider: str, model: str) -> Price | None:
    return DEAR if (provider, model) == ("openai", "gpt-known") else None


def rule(model: str, price: Price, provider: str = "openai") -> PriceRule:
    return PriceRule(provider=provider, model=model, price=price)


def test_a_call_costs_its_tokens_at_their_prices() -> None:
    table = PriceTable({("openai", "m"): Price(input_usd=2.0, output_usd=10.0)})
    assert table.cost("openai", "m", input_tokens=1_000_000, output_tokens=100_000) == pytest.approx(3.0)


def test_the_most_precise_written_price_holds_whatever_their_order() -> None:
    rules = [rule("*", DEAR), rule("gpt-4o*", CHEAP), rule("gpt-4o-mini", EXACT), rule("gpt-4o*", DEAR, "bedrock")]
    for order in (rules, rules[::-1]):
        table = PriceTable()
        table.update(order)
        assert table.price("openai", "gpt-4o-mini") == EXACT
        assert table.price("openai", "gpt-4o-mini-2026") == CHEAP
        assert table.price("openai", "o9") == DEAR
        assert table.price("anthropic", "gpt-4o-mini") is None


def test_only_the_star_stands_for_something() -> None:
    table = PriceTable({("openai", "a[bc]?"): CHEAP})
    assert table.price("openai", "ab1") is None
    assert table.price("openai", "a[bc]?") == CHEAP


def test_what_is_written_stands_over_the_librarys_and_that_over_what_is_assumed() -> None:
    table = PriceTable(library=known)
    assert table.price("openai", "gpt-known") == DEAR
    assert table.price("openai", "else") is None
    table.update([rule("gpt-*", CHEAP)], assumed=EXACT)
    assert table.price("openai", "gpt-known") == CHEAP
    assert table.price("openai", "else") == EXACT
    table.update([])
    assert table.price("openai", "gpt-known") == DEAR
    assert table.cost("openai", "else", input_tokens=1, output_tokens=1) is None


@pytest.mark.parametrize("provider", ["scripted", "ollama"])
def test_ones_own_machine_costs_nothing_unless_a_price_is_written(provider: str) -> None:
    table = PriceTable(library=known)
    table.update([], assumed=DEAR)
    assert table.cost(provider, "echo", input_tokens=10**9, output_tokens=1) == 0.0
    table.update([rule("echo", CHEAP, provider)])
    assert table.price(provider, "echo") == CHEAP


def test_the_library_knows_the_prices_of_well_known_models_and_of_no_others() -> None:
    price = library_price("openai", "gpt-4o-mini")
    assert price is not None
    assert 0 < price.input_usd < price.output_usd < 100
    assert library_price("openai", "my-own-model") is None
    assert library_price("ollama", "llama3.1") is None
