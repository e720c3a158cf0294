"""What a model call costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FREE_PROVIDERS = frozenset({"scripted", "ollama"})
"""They run on the owner's own machine: their calls cost nothing, whatever the model is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars a million tokens."""

    input_usd: float
    output_usd: float


class PriceTable:
    """Prices by (provider, model id). A model that is not listed has no price, which is not the same as no cost."""

    def __init__(self, prices: Mapping[tuple[str, str], Price] | None = None) -> None:
        self._prices = dict(prices or {})

    def cost(self, provider: str, model_id: str, *, input_tokens: int, output_tokens: int) -> float | None:
        price = self._prices.get((provider, model_id))
        if price is not None:
            return (input_tokens * price.input_usd + output_tokens * price.output_usd) / 1_000_000
        return 0.0 if provider in FREE_PROVIDERS else None
