"""Prices that the model layer's library knows of, without asking anybody; it is loaded at the first question."""

from __future__ import annotations

from callboard.llm.pricing import Price

_LIBRARY_NAMES = {"anthropic": "anthropic", "openai": "openai", "bedrock": "aws"}


def library_price(provider: str, model_id: str) -> Price | None:
    """US dollars a million tokens, None for a provider or a model that the library does not list.

    Where a price rises with the length of the prompt it is the one of short prompts.
    """
    library_name = _LIBRARY_NAMES.get(provider)
    if library_name is None:
        return None
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(Usage(input_tokens=1, output_tokens=1), model_ref=model_id, provider_id=library_name)
    except LookupError:
        return None
    return Price(input_usd=float(price.input_price) * 1_000_000, output_usd=float(price.output_price) * 1_000_000)
