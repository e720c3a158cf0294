"""What the guards of the models share, kept in the database: the two records are one, told in each side's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from callboard.llm.circuit_breaker import Breaker
from callboard.llm.guard_states import GuardState
from callboard.llm.token_bucket import Bucket
from callboard.state.provider_state_store import ProviderStateStore
from callboard.state.provider_states import ProviderState

T = TypeVar("T")


class SharedGuards:
    """`GuardStates` over the table of all workers."""

    def __init__(self, store: ProviderStateStore) -> None:
        self._store = store

    async def load(self) -> Mapping[str, GuardState]:
        return {state.name: guard_state(state) for state in await self._store.load()}

    async def change(self, name: str, decide: Callable[[GuardState], tuple[GuardState, T]]) -> tuple[GuardState, T]:
        def changed(before: ProviderState) -> tuple[ProviderState, T]:
            after, result = decide(guard_state(before))
            return _stored(before, after), result

        stored, result = await self._store.change(name, changed)
        return guard_state(stored), result


def guard_state(state: ProviderState) -> GuardState:
    bucket = None
    if state.allowance is not None and state.refilled_at is not None:
        bucket = Bucket(allowance=state.allowance, refilled_at=state.refilled_at)
    return GuardState(
        breaker=Breaker(failures=state.failures, open_until=state.open_until, probe_until=state.probe_until),
        cooldown_until=state.cooldown_until,
        bucket=bucket,
        reason=state.reason,
        updated_at=state.updated_at,
    )


def _stored(before: ProviderState, after: GuardState) -> ProviderState:
    bucket = after.bucket
    return replace(
        before,
        failures=after.breaker.failures,
        open_until=after.breaker.open_until,
        probe_until=after.breaker.probe_until,
        cooldown_until=after.cooldown_until,
        allowance=None if bucket is None else bucket.allowance,
        refilled_at=None if bucket is None else bucket.refilled_at,
        reason=after.reason,
    )
