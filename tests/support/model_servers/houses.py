"""Our adapters, each at its fake server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from callboard.llm.pricing import Price, PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider
from callboard.llm.providers.access import ProviderAccess
from callboard.llm.providers.builders import ModelBuilders
from tests.support.model_servers.anthropic_wire import AnthropicWire
from tests.support.model_servers.bedrock_wire import BedrockWire
from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.server import MODEL, RIGHT_KEY, ModelServer, model_server
from tests.support.model_servers.wire import Wire

WIRES: dict[str, Callable[[], Wire]] = {
    "anthropic": AnthropicWire,
    "bedrock": BedrockWire,
    "ollama": OpenAIWire,
    "openai": OpenAIWire,
}
PRICES = PriceTable({(name, MODEL): Price(input_usd=2.0, output_usd=10.0) for name in WIRES})


@dataclass
class House:
    """A server, and providers of it that are closed at the end."""

    name: str
    server: ModelServer
    builders: ModelBuilders
    made: list[LLMProvider] = field(default_factory=list)

    def provider(self, **changed: object) -> LLMProvider:
        """A provider with these parts of its configuration."""
        config = replace(LLMConfig(provider=self.name, model_id=MODEL, timeout_seconds=20.0), **changed)  # type: ignore[arg-type]
        provider = self.builders.all()[self.name](config)
        self.made.append(provider)
        return provider


@contextlib.asynccontextmanager
async def house(name: str, *, key: str | None = RIGHT_KEY) -> AsyncIterator[House]:
    async with model_server(WIRES[name]()) as server:
        builders = ModelBuilders(access_to(name, server.url, key), PRICES, lambda text: text)
        here = House(name, server, builders)
        try:
            yield here
        finally:
            for provider in here.made:
                await provider.close()


def access_to(name: str, url: str, key: str | None) -> ProviderAccess:
    """What the owner sets so that the provider is asked at this address."""
    match name:
        case "anthropic":
            return ProviderAccess(anthropic_api_key=key, anthropic_base_url=url)
        case "bedrock":
            return ProviderAccess(
                aws_access_key_id="AKIATEST", aws_secret_access_key=key, aws_region="eu-central-1", aws_endpoint_url=url
            )
        case "ollama":
            return ProviderAccess(ollama_host=url)
        case _:
            return ProviderAccess(openai_api_key=key, openai_base_url=f"{url}/v1")
