"""From a configuration to the provider that serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from callboard.errors import UnavailableError
from callboard.llm.errors import UnknownProviderError
from callboard.llm.provider import LLMConfig, LLMProvider

ProviderBuilder: TypeAlias = Callable[[LLMConfig], LLMProvider]

KEYLESS_ELSEWHERE = frozenset({"anthropic", "openai"})
"""With a `base_url` in the agent file they need nothing of the environment: such a server may ask for no key."""


class LLMProviderFactory:
    """Knows every provider by name, and of those that lack something in this environment the reason to tell people."""

    def __init__(
        self, builders: Mapping[str, ProviderBuilder], *, unavailable: Mapping[str, str] | None = None
    ) -> None:
        self._builders = dict(builders)
        self._unavailable = dict(unavailable or {})

    def create_provider(self, config: LLMConfig) -> LLMProvider:
        """Makes no network call. The caller closes what it gets.

        Raises UnknownProviderError (a ValueError) for a name that does not exist, UnavailableError
        (`provider_unavailable`) for one that exists but cannot be used here.
        """
        why = self.why_unavailable(config.provider, base_url=config.base_url)
        if why is not None:
            raise UnavailableError(why, code="provider_unavailable", field="llm_config.provider")
        builder = self._builders.get(config.provider)
        if builder is not None:
            return builder(config)
        known = ", ".join(self.list_providers())
        raise UnknownProviderError(
            f"unknown model provider {config.provider!r}; known are: {known}", field="llm_config.provider"
        )

    def why_unavailable(self, provider: str, *, base_url: str | None = None) -> str | None:
        """The reason for people why a known provider cannot be used, None when it can or is not known."""
        reason = self._unavailable.get(provider)
        if base_url is not None and provider in KEYLESS_ELSEWHERE:
            reason = None
        return None if reason is None else f"model provider {provider!r} cannot be used: {reason}"

    def list_providers(self) -> list[str]:
        """All known names, sorted, usable or not."""
        return sorted({*self._builders, *self._unavailable})
