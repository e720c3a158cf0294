"""From a configuration to a provider of the four that need a server, for LLMProviderFactory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider
from callboard.llm.provider_factory import ProviderBuilder
from callboard.llm.providers.access import AWS_DEFAULT_REGION, ProviderAccess, key_for, ollama_url
from callboard.llm.providers.deferred import DeferredProvider

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
_HERE = "callboard.llm.providers"

Resolve = Callable[[str], str]
"""Fills `${env:NAME}`; raises a CallboardError for what may not be read or is not set."""


class ModelBuilders:
    """Builds providers that share the connections of this process. No library is loaded before a first call."""

    def __init__(self, access: ProviderAccess, prices: PriceTable, resolve: Resolve) -> None:
        self._access = access
        self._prices = prices
        self._resolve = resolve
        self._shared: dict[str, Any] = {}

    def all(self) -> Mapping[str, ProviderBuilder]:
        return {
            "anthropic": partial(self._build, self._anthropic),
            "bedrock": partial(self._build, self._bedrock),
            "ollama": partial(self._build, self._ollama),
            "openai": partial(self._build, self._openai),
        }

    def _build(
        self, make: Callable[[LLMConfig, str | None, ModuleType], LLMProvider], config: LLMConfig
    ) -> LLMProvider:
        url = None if config.base_url is None else self._resolve(config.base_url)
        adapter = f"{_HERE}.{config.provider}"
        return DeferredProvider(config, adapter, lambda module: make(config, url, module), self._prices)

    def _openai(self, config: LLMConfig, url: str | None, adapter: ModuleType) -> LLMProvider:
        access = self._access
        place = _Place("OPENAI", access.openai_api_key, access.openai_base_url, OPENAI_URL)
        return self._keyed(config, url, adapter, place)

    def _anthropic(self, config: LLMConfig, url: str | None, adapter: ModuleType) -> LLMProvider:
        access = self._access
        place = _Place("ANTHROPIC", access.anthropic_api_key, access.anthropic_base_url, ANTHROPIC_URL)
        return self._keyed(config, url, adapter, place)

    def _keyed(self, config: LLMConfig, url: str | None, adapter: ModuleType, place: _Place) -> LLMProvider:
        used = url or place.base_url or place.own_url
        key = key_for(place.key, written=config.base_url, url=used, trusted_urls=(place.own_url, place.base_url))
        made: LLMProvider = adapter.make(
            config,
            key=key,
            base_url=used,
            key_help=place.withheld() if key is None and place.key is not None else place.wrong(),
            prices=self._prices,
            shared=self._connections(adapter),
        )
        return made

    def _ollama(self, config: LLMConfig, url: str | None, adapter: ModuleType) -> LLMProvider:
        made: LLMProvider = adapter.make(
            config,
            server_url=ollama_url(url or self._access.ollama_host),
            prices=self._prices,
            shared=self._connections(adapter),
        )
        return made

    def _bedrock(self, config: LLMConfig, url: str | None, adapter: ModuleType) -> LLMProvider:
        access = self._access
        account = adapter.Account(
            region=access.aws_region or AWS_DEFAULT_REGION,
            endpoint_url=url or access.aws_endpoint_url,
            access_key_id=access.aws_access_key_id,
            secret_access_key=access.aws_secret_access_key,
            session_token=access.aws_session_token,
        )
        if "aws" not in self._shared:
            self._shared["aws"] = adapter.Clients()
        made: LLMProvider = adapter.make(config, account=account, prices=self._prices, shared=self._shared["aws"])
        return made

    def _connections(self, adapter: ModuleType) -> Any:
        """One HTTP client for all that speak plain HTTP."""
        if "http" not in self._shared:
            self._shared["http"] = adapter.Connections()
        return self._shared["http"]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a provider with a key is asked unless an agent file says otherwise; `name` begins its variables."""

    name: str
    key: str | None
    base_url: str | None
    own_url: str

    def wrong(self) -> str:
        return f"see that {self.name}_API_KEY is right and may use this model"

    def withheld(self) -> str:
        return (
            f"{self.name}_API_KEY was not sent, because base_url stands in the agent file: put the address into "
            f"{self.name}_BASE_URL, or into a variable of your own and write base_url: ${{env:NAME}}"
        )
