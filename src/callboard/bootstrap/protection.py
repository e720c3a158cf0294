"""Models behind their guards: one set of breakers, cooldowns and limits for all processes on one database."""

from __future__ import annotations

from collections.abc import Mapping

from callboard.agents.shared_guards import SharedGuards
from callboard.bootstrap.core import Core
from callboard.config.models_file import ModelsFile
from callboard.config.models_watch import ModelsWatch
from callboard.errors import UnavailableError
from callboard.ids import fraction
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.llm.protection import Protection
from callboard.llm.rate_limiter import RateLimits
from callboard.logs import StructuredLogger
from callboard.state.provider_state_store import ProviderStateStore


def make_protection(core: Core, models: ModelsWatch | None, breaker: BreakerSettings | None = None) -> Protection:
    """For all models of this process, within the limits that the file of `models` sets, now and after each change."""
    log = StructuredLogger("provider-guard")

    async def closed(server: str) -> None:
        """The runs that wait for a provider come back sooner than they planned; where that fails, as planned."""
        try:
            count = await core.store.release_paused()
        except UnavailableError as error:
            log.warning("waiting runs cannot be told that a provider is back", provider=server, reason=error.message)
        else:
            log.info("runs that wait for a provider come back", provider=server, runs=count)

    protection = Protection(
        SharedGuards(ProviderStateStore(core.database, core.clock)),
        core.clock,
        lambda: fraction(core.ids.new()),
        settings=breaker,
        closed=closed,
    )
    if models is not None:
        models.subscribe(lambda file: protection.set_limits(_rate_limits(file)))
    return protection


def _rate_limits(file: ModelsFile) -> Mapping[str, RateLimits]:
    """What the file says that providers allow, by provider."""
    return {
        name: RateLimits(requests_per_minute=limits.requests_per_minute, tokens_per_minute=limits.tokens_per_minute)
        for name, limits in file.limits.items()
    }
