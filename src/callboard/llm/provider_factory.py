"""From a configuration to the provider that serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from callboard.errors import UnavailableError
from callboard.llm.errors import UnknownProviderError
from callboard.llm.provider import LLMConfig, LLMProvider

ProviderBuilder: TypeAlias = Callable[[LLMConfig], LLMProvider]

NOT_IN_THIS_RELEASE: Mapping[str, str] = dict.fromkeys(
    ("anthropic", "openai", "bedrock", "ollama"),
    "this release has no adapter for it yet; use provider: scripted, or wait for the next release",
)
"""Providers that an agent file may name already, with the reason for `unavailable`; an adapter takes its name off."""


class LLMProviderFactory:
    """Knows every provider by name: those it can build, and those it cannot with the reason to tell people."""

    def __init__(
        self, builders: Mapping[str, ProviderBuilder], *, unavailable: Mapping[str, str] | None = None
    ) -> None:
        self._builders = dict(builders)
        self._unavailable = {name: why for name, why in (unavailable or {}).items() if name not in self._builders}

    def create_provider(self, config: LLMConfig) -> LLMProvider:
        """Makes no network call. The caller closes what it gets.

        Raises UnknownProviderError (a ValueError) for a name that does not exist, UnavailableError
        (`provider_unavailable`) for one that exists but cannot be used here.
        """
        builder = self._builders.get(config.provider)
        if builder is not None:
            return builder(config)
        why = self.why_unavailable(config.provider)
        if why is not None:
            raise UnavailableError(why, code="provider_unavailable", field="llm_config.provider")
        known = ", ".join(self.list_providers())
        raise UnknownProviderError(
            f"unknown model provider {config.provider!r}; known are: {known}", field="llm_config.provider"
        )

    def why_unavailable(self, provider: str) -> str | None:
        """The reason for people why a known provider cannot be used, None when it can or is not known."""
        reason = self._unavailable.get(provider)
        return None if reason is None else f"model provider {provider!r} cannot be used: {reason}"

    def list_providers(self) -> list[str]:
        """All known names, sorted, usable or not."""
        return sorted({*self._builders, *self._unavailable})
