"""What the workers know together of the model providers, as verbs (docs/decisions/0016-provider-protection.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from callboard.clock import Clock
from callboard.state.database import Database
from callboard.state.provider_states import Decide, ProviderState
from callboard.state.sql import provider_states

T = TypeVar("T")


class ProviderStateStore:
    """Every method raises UnavailableError while the database is away."""

    def __init__(self, database: Database, clock: Clock, *, tenant: str = "default") -> None:
        self._database = database
        self._clock = clock
        self._tenant = tenant

    async def load(self) -> Sequence[ProviderState]:
        """All of them; there are few."""
        return await self._database.read(partial(provider_states.load_states, tenant=self._tenant))

    async def change(self, name: str, decide: Decide[T]) -> tuple[ProviderState, T]:
        """Puts what `decide` makes of the state in its place while nobody else does; `decide` may be called again."""
        now = self._clock.now()
        return await self._database.write(
            lambda connection: provider_states.change_state(connection, self._tenant, name, decide, now)
        )
