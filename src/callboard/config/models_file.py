"""`config/models.yaml`: prices, budgets and rate limits of models, for the whole installation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from callboard.config.llm_settings import Provider
from callboard.config.loader import Advice, read_yaml
from callboard.config.problems import Problem, problems_of
from callboard.config.record import Number, Record, Whole
from callboard.config.refusal import refuse
from callboard.config.safe_reading import read_file
from callboard.llm.pricing import Price, PriceRule

ADVICE = Advice(
    empty="write prices, budgets or limits, or delete the file",
    second_document="one document: put everything into the first",
)
Usd = Annotated[Number, Field(ge=0, le=1_000_000)]
Daily = Annotated[Number, Field(gt=0, le=1_000_000)]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]
Who = Annotated[str, Field(min_length=1, max_length=100)]


class AssumedPrice(Record):
    """US dollars a million tokens, of every model whose price nobody knows."""

    input_usd: Usd
    output_usd: Usd


class PriceSettings(AssumedPrice):
    """What one provider's models of that name cost; `*` in `model` stands for any signs."""

    provider: Provider
    model: ModelName


class BudgetSettings(Record):
    """What may be spent a day of UTC: by the whole installation, in a Slack channel, by a user."""

    daily_usd: Daily | None = None
    channels: dict[Who, Daily] = Field(default_factory=dict, description='By "#name" or by id: {"#eng": 5, C0123: 2}.')
    users: dict[Who, Daily] = Field(default_factory=dict, description="By id: {U0123: 1.5}.")

    @field_validator("channels")
    @classmethod
    def _named(cls, channels: dict[str, float]) -> dict[str, float]:
        for name in channels:
            if not name.startswith("#") and not name[:1].isupper():
                raise refuse(f"'{name}' is no channel", f'write "#{name}" (in quotes), or an id such as C0123ABC')
        return channels

    @property
    def any(self) -> bool:
        return self.daily_usd is not None or bool(self.channels or self.users)


class ProviderLimits(Record):
    """What a provider allows in a minute, over all processes together."""

    requests_per_minute: Whole | None = Field(default=None, ge=1)
    tokens_per_minute: Whole | None = Field(default=None, ge=1)


class LimitsByProvider(Record):
    """Each key is a provider."""

    anthropic: ProviderLimits = ProviderLimits()
    openai: ProviderLimits = ProviderLimits()
    bedrock: ProviderLimits = ProviderLimits()
    ollama: ProviderLimits = ProviderLimits()
    scripted: ProviderLimits = ProviderLimits()

    def items(self) -> Iterator[tuple[str, ProviderLimits]]:
        """Those that have one."""
        for name in type(self).model_fields:
            limits: ProviderLimits = getattr(self, name)
            if limits != ProviderLimits():
                yield name, limits


class ModelsFile(Record):
    """Everything in the file; without a file all of it is left out."""

    prices: tuple[PriceSettings, ...] = ()
    unknown_price: Literal["refuse"] | AssumedPrice | None = Field(
        default=None,
        description="What to do with a model whose price nobody knows: refuse it, or assume one. Left out: refuse it "
        "only where a budget applies, since a budget of unknown prices would hold nothing back.",
    )
    budgets: BudgetSettings = BudgetSettings()
    limits: LimitsByProvider = LimitsByProvider()

    @field_validator("unknown_price", mode="before")
    @classmethod
    def _refuse_or_assume(cls, value: object) -> object:
        if isinstance(value, str) and value != "refuse":
            raise refuse(f"'{value[:60]}' is no policy", "write refuse, or {input_usd: 3, output_usd: 15}")
        return AssumedPrice.model_validate(value) if isinstance(value, dict) else value

    @property
    def rules(self) -> list[PriceRule]:
        return [
            PriceRule(provider=price.provider.value, model=price.model, price=_price(price)) for price in self.prices
        ]

    @property
    def assumed(self) -> Price | None:
        return _price(self.unknown_price) if isinstance(self.unknown_price, AssumedPrice) else None

    @property
    def refuses_unknown_prices(self) -> bool:
        """Even where no budget applies."""
        return self.unknown_price == "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModels:
    """What came of reading the file: settings, or everything that is wrong with it."""

    digest: str
    models: ModelsFile | None
    problems: tuple[Problem, ...] = ()


def load_models(data: bytes, path: str) -> LoadedModels:
    """Never raises for any content; problems come in the order of the lines. A file of comments alone says nothing."""
    digest = hashlib.sha256(data).hexdigest()
    document = read_yaml(data, path, ADVICE)
    if document.root is None and document.text.strip() and not _lines(document.text):
        return LoadedModels(digest=digest, models=ModelsFile())
    problems = list(document.problems)
    models = None
    if document.root is not None:
        try:
            models = ModelsFile.model_validate(document.root.plain())
        except ValidationError as error:
            problems += problems_of(error, ModelsFile, path, document.root.locate)
    ordered = sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.message))
    return LoadedModels(digest=digest, models=None if problems else models, problems=tuple(ordered))


def read_models(path: Path) -> LoadedModels:
    """What stands in the file now; no file says nothing."""
    if not path.exists():
        return LoadedModels(digest="", models=ModelsFile())
    content = read_file(path.parent, path.name, str(path))
    if content.problem is not None:
        return LoadedModels(digest=content.digest, models=None, problems=(content.problem,))
    return load_models(content.data, str(path))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _price(settings: AssumedPrice) -> Price:
    return Price(input_usd=settings.input_usd, output_usd=settings.output_usd)
