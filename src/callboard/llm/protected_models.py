"""From a configuration to the model that an agent asks: guarded, with those that stand in for it."""

from __future__ import annotations

from dataclasses import replace

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.llm.fallback import FallbackProvider
from callboard.llm.guarded import GuardedProvider
from callboard.llm.protection import Protection
from callboard.llm.provider import LLMConfig, LLMProvider
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.logs import StructuredLogger


class ProtectedModels:
    """Makes them; one for each process, since all models of a provider share what is known of it."""

    def __init__(self, providers: LLMProviderFactory, protection: Protection, clock: Clock) -> None:
        self._providers = providers
        self._protection = protection
        self._clock = clock
        self._log = StructuredLogger("provider-guard")

    def make(self, config: LLMConfig) -> LLMProvider:
        """Raises UnavailableError where none of the models can be used here, for the first one's reason.

        A script that stands alone is not guarded: the failures that it plays are what its author wants to see.
        """
        if config.provider == "scripted" and not config.fallback:
            return self._providers.create_provider(config)
        models: list[GuardedProvider] = []
        missing: list[UnavailableError] = []
        for each in (replace(config, fallback=()), *config.fallback):
            try:
                models.append(self._guarded(each))
            except UnavailableError as error:
                missing.append(error)
                self._log.warning("a model cannot be used here", provider=each.provider, reason=error.message)
        if not models:
            raise missing[0]
        return FallbackProvider(models, self._clock)

    def _guarded(self, config: LLMConfig) -> GuardedProvider:
        return GuardedProvider(self._providers.create_provider(config), config, self._protection, self._clock)
