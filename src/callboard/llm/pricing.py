"""What a model call costs: prices that are written down, those that the library knows, and those that are assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

FREE_PROVIDERS = frozenset({"scripted", "ollama"})
"""They run on the owner's own machine: their calls cost nothing, whatever the model is called, unless a price is
written down for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars a million tokens."""

    input_usd: float
    output_usd: float


FREE = Price(input_usd=0.0, output_usd=0.0)
LibraryPrice = Callable[[str, str], Price | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRule:
    """The price of one provider's models of that name, in which `*` stands for any signs."""

    provider: str
    model: str
    price: Price

    @property
    def exact(self) -> bool:
        return "*" not in self.model


class PriceTable:
    """Prices by provider and model. A model that has none is not free: nobody knows what it costs.

    In this order: the written price of exactly that model, the written one with the longest name that fits, nothing
    for a provider of the owner's own, the library's, the assumed one.
    """

    def __init__(
        self, prices: Mapping[tuple[str, str], Price] | None = None, *, library: LibraryPrice | None = None
    ) -> None:
        self._library = library
        self._known: dict[tuple[str, str], Price | None] = {}
        self._rules: tuple[PriceRule, ...] = ()
        self._assumed: Price | None = None
        self.update(
            PriceRule(provider=provider, model=model, price=price)
            for (provider, model), price in (prices or {}).items()
        )

    def update(self, rules: Iterable[PriceRule], assumed: Price | None = None) -> None:
        """From now on these are the written prices, and this the one of a model that has none."""
        self._rules = tuple(sorted(rules, key=lambda rule: (rule.exact, len(rule.model)), reverse=True))
        self._assumed = assumed
        self._known = {}

    def price(self, provider: str, model_id: str) -> Price | None:
        key = (provider, model_id)
        if key not in self._known:
            self._known[key] = self._find(provider, model_id)
        return self._known[key]

    def cost(self, provider: str, model_id: str, *, input_tokens: int, output_tokens: int) -> float | None:
        """US dollars, None where nobody knows."""
        price = self.price(provider, model_id)
        return None if price is None else cost_of(price, input_tokens, output_tokens)

    def _find(self, provider: str, model_id: str) -> Price | None:
        for rule in self._rules:
            if rule.provider == provider and _fits(rule.model, model_id):
                return rule.price
        if provider in FREE_PROVIDERS:
            return FREE
        found = self._library(provider, model_id) if self._library is not None else None
        return found or self._assumed


def cost_of(price: Price, input_tokens: int, output_tokens: int) -> float:
    """US dollars for that many tokens."""
    return (input_tokens * price.input_usd + output_tokens * price.output_usd) / 1_000_000


def _fits(pattern: str, model_id: str) -> bool:
    """Only `*` means something else than itself."""
    return fnmatchcase(model_id, pattern.replace("[", "[[]").replace("?", "[?]"))
