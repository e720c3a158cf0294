"""Which model providers there are, and what this process has of their keys and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from callboard.clock import Clock
from callboard.config.models_watch import ModelsWatch
from callboard.config.secrets import resolve
from callboard.llm.library_prices import library_price
from callboard.llm.metered import MeteredProvider, ObserveCall
from callboard.llm.pricing import PriceTable
from callboard.llm.provider_factory import LLMProviderFactory, ProviderBuilder
from callboard.llm.providers.access import ProviderAccess
from callboard.llm.providers.builders import ModelBuilders
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.settings import Settings, text_of

_AWS_ELSEWHERE = (
    "AWS_PROFILE",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""What says that AWS's own libraries find keys by themselves."""


def make_factory(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    *,
    prices: PriceTable | None = None,
    judges: bool = True,
    observe: ObserveCall | None = None,
) -> LLMProviderFactory:
    """Every provider. Whoever does not judge has no keys itself and takes each for available; `observe` is told of
    every call."""
    access = provider_access(settings, environment)
    models = ModelBuilders(access, prices or PriceTable(), partial(resolve, environment=environment))
    builders: dict[str, ProviderBuilder] = {
        **models.all(),
        "scripted": lambda config: ScriptedProvider(config, clock, prices),
    }
    if observe is not None:
        builders = {name: _metered(build, observe) for name, build in builders.items()}
    return LLMProviderFactory(builders, unavailable=access.missing() if judges else {})


def make_prices(models: ModelsWatch | None) -> PriceTable:
    """As the file has them, now and after each change of it, over those that the library knows."""
    prices = PriceTable(library=library_price)
    if models is not None:
        models.subscribe(lambda file: prices.update(file.rules, file.assumed))
    return prices


def _metered(build: ProviderBuilder, observe: ObserveCall) -> ProviderBuilder:
    return lambda config: MeteredProvider(build(config), config, observe)


def provider_access(settings: Settings, environment: Mapping[str, str]) -> ProviderAccess:
    """What the owner has set."""
    return ProviderAccess(
        openai_api_key=text_of(settings.openai_api_key),
        openai_base_url=settings.openai_base_url,
        anthropic_api_key=text_of(settings.anthropic_api_key),
        anthropic_base_url=settings.anthropic_base_url,
        aws_access_key_id=text_of(settings.aws_access_key_id),
        aws_secret_access_key=text_of(settings.aws_secret_access_key),
        aws_session_token=text_of(settings.aws_session_token),
        aws_region=settings.aws_region or environment.get("AWS_DEFAULT_REGION"),
        aws_endpoint_url=settings.aws_endpoint_url_bedrock_runtime,
        aws_elsewhere=any(environment.get(name) for name in _AWS_ELSEWHERE),
        ollama_host=settings.ollama_host,
    )
