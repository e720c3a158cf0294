"""Who may be asked now: breakers, cooldowns and rate limits of all providers, shared by all workers.

A closed breaker and a provider without limits cost no more than a look at this process's copy of the shared state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from callboard.clock import Clock
from callboard.llm import circuit_breaker as breakers
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.llm.errors import LLMHeldBackError, LLMRateLimitError
from callboard.llm.guard_board import PATIENCE_SECONDS, GuardBoard
from callboard.llm.guard_states import GuardState, GuardStates
from callboard.llm.rate_limiter import CountTokens, RateLimiter, RateLimits
from callboard.logs import StructuredLogger
from callboard.retry import Backoff

T = TypeVar("T")
DEFAULT_COOLDOWN_SECONDS = 5.0
"""For a rate limit whose answer named no time."""
PROBE_MARGIN_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 10.0
"""While another's probe is under way: its end wakes the runs that wait, so nobody needs to look often."""
_SOON = Backoff(first_seconds=1.0, factor=2.0, cap_seconds=10.0, jitter=0.5)
_LONGEST_REASON = 500

NoteClosed = Callable[[str], Awaitable[None]]


async def _nobody(name: str) -> None:
    """Where no runs wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The right to make one call. `probe` is the token of the one call that may look whether a provider is back."""

    server: str
    model: str
    probe: datetime | None = None
    taken_tokens: float = 0.0


@dataclass(eq=False, slots=True)
class _Tally:
    """Failures of a server that are on their way to the shared state."""

    waiting: int = 0
    reason: str = ""
    sharing: bool = False


class Protection:
    """One for each process; every guarded model of the process asks it.

    `random` gives numbers in [0, 1). `closed` is awaited after a breaker was closed here: runs wait for that.
    A call waits `patience_seconds` for the shared state, in real time; then what is known here decides.
    """

    def __init__(
        self,
        states: GuardStates,
        clock: Clock,
        random: Callable[[], float],
        *,
        settings: BreakerSettings | None = None,
        closed: NoteClosed = _nobody,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._board = GuardBoard(states, clock, patience_seconds=patience_seconds)
        self._clock = clock
        self._random = random
        self._settings = settings or BreakerSettings()
        self._limits: Mapping[str, RateLimits] = {}
        self._closed = closed
        self._limiter = RateLimiter(self._board, clock)
        self._tallies: dict[str, _Tally] = {}
        self._probing: set[str] = set()
        self._log = StructuredLogger("provider-guard")

    def limits(self, provider: str) -> RateLimits | None:
        return self._limits.get(provider)

    def set_limits(self, limits: Mapping[str, RateLimits]) -> None:
        """By the name of a provider, as in an agent file; holds from the next call on."""
        self._limits = dict(limits)

    async def admit(
        self, server: str, model: str, *, limits: RateLimits | None, tokens: CountTokens, call_seconds: float
    ) -> Permit:
        """Raises LLMHeldBackError or LLMRateLimitError, both with the time after which to come again.

        `tokens` is asked for only where tokens are limited. `call_seconds` is the longest that the call may take.
        """
        state = await self._board.state(server)
        now = self._clock.now()
        cooling = self._board.known(model).cooldown_until
        if cooling is not None and now < cooling:
            raise self._asked_to_wait(model, (cooling - now).total_seconds())
        status = state.breaker.status(now)
        if status == "open":
            raise self._held_back(server, state, state.breaker.seconds_left(now))
        lease_seconds = call_seconds + PROBE_MARGIN_SECONDS
        probe = await self._begin_probe(server, state, lease_seconds) if status == "half_open" else None
        permit = Permit(server=server, model=model, probe=probe)
        if limits is None:
            return permit
        try:
            taken = await self._limiter.take(server, limits, tokens)
        except BaseException:  # a cancellation too: a probe that nobody ends would keep the others out
            await self.abandoned(permit)
            raise
        return replace(permit, taken_tokens=taken)

    async def answered(self, permit: Permit, limits: RateLimits | None = None, used_tokens: int = 0) -> None:
        """The provider did what was asked, or said no to this request alone: it is there."""
        if limits is not None:
            await self._limiter.settle(permit.server, limits, permit.taken_tokens, used_tokens)
        if permit.probe is not None:
            await self._close(permit.server)
        elif self._board.known(permit.server).breaker.failures:
            await self._board.change(permit.server, _changes(breakers.succeeded))

    async def rate_limited(self, permit: Permit, retry_after: float | None, reason: str) -> None:
        """From now until then nobody asks this model, in no worker."""
        await self.answered(permit)
        await self._cool_down(permit.model, DEFAULT_COOLDOWN_SECONDS if retry_after is None else retry_after, reason)

    async def failed(self, permit: Permit, reason: str, retry_after: float | None = None) -> None:
        """The provider was not there; some say when they will be."""
        if retry_after:
            await self._cool_down(permit.model, retry_after, reason)
        if permit.probe is not None:
            await self._reopen(permit.server, permit.probe, reason)
            return
        tally = self._tallies.setdefault(permit.server, _Tally())
        tally.waiting += 1
        tally.reason = _short(reason)
        while tally.waiting and not tally.sharing:
            await self._share(permit.server, tally)

    async def abandoned(self, permit: Permit) -> None:
        """The call was given up before it ended: that says nothing about the provider."""
        probe = permit.probe
        if probe is not None:
            await self._board.change(permit.server, _changes(lambda breaker: breakers.probe_abandoned(breaker, probe)))

    def seconds_until(self, server: str, model: str) -> float:
        """When it makes sense to ask this model again, as far as is known here; with jitter, never too early."""
        now = self._clock.now()
        state, cooling = self._board.known(server), self._board.known(model).cooldown_until
        cooldown = 0.0 if cooling is None else max(0.0, (cooling - now).total_seconds())
        if state.breaker.open_until is not None:
            return max(self._later(state.breaker.seconds_left(now)), cooldown)
        soon = _SOON.seconds(max(1, min(state.breaker.failures, 10)), random=self._random)
        return max(soon, self._spread(cooldown)) if cooldown else soon

    async def _begin_probe(self, server: str, state: GuardState, lease_seconds: float) -> datetime | None:
        """The token of the probe, None where none is needed any more.

        LLMHeldBackError where somebody else, here or elsewhere, is about to probe.
        """
        now = self._clock.now()
        other = state.breaker.probe_until
        if server in self._probing or (other is not None and now < other):
            raise self._held_back(server, state, 0.0)
        self._probing.add(server)
        try:
            probe = await self._board.change(server, lambda before: _probe(before, now, lease_seconds))
        finally:
            self._probing.discard(server)
        if probe is None and self._board.known(server).breaker.open_until is None:
            return None  # another has closed it meanwhile
        if probe is None:
            raise self._held_back(server, self._board.known(server), 0.0)
        self._log.info("looking whether a model provider is back", provider=server)
        return probe

    async def _cool_down(self, model: str, seconds: float, reason: str) -> None:
        until = self._clock.now() + timedelta(seconds=max(0.0, seconds))

        def cool(state: GuardState) -> tuple[GuardState, None]:
            later = state.cooldown_until is None or state.cooldown_until < until
            return (replace(state, cooldown_until=until, reason=_short(reason)) if later else state), None

        await self._board.change(model, cool)

    async def _share(self, server: str, tally: _Tally) -> None:
        """What failed together is told together: a provider that goes down fails hundreds of calls at once."""
        tally.sharing = True
        count, reason, tally.waiting = tally.waiting, tally.reason, 0
        now, random = self._clock.now(), self._random()
        settings = self._settings

        def fail(state: GuardState) -> tuple[GuardState, bool]:
            after = breakers.failed(state.breaker, now, settings, count=count, random=random)
            opened = after.open_until is not None and state.breaker.open_until is None
            return (state if after == state.breaker else replace(state, breaker=after, reason=reason)), opened

        try:
            opened = await self._board.change(server, fail)
        finally:
            tally.sharing = False
        if opened:
            self._tell_opened(server, reason)

    async def _reopen(self, server: str, probe: datetime, reason: str) -> None:
        now, random = self._clock.now(), self._random()
        settings = self._settings

        def reopen(state: GuardState) -> tuple[GuardState, None]:
            after = breakers.probe_failed(state.breaker, probe, now, settings, random)
            return (state if after == state.breaker else replace(state, breaker=after, reason=_short(reason))), None

        await self._board.change(server, reopen)
        self._tell_opened(server, _short(reason))

    async def _close(self, server: str) -> None:
        now = self._clock.now()

        def close(state: GuardState) -> tuple[GuardState, bool]:
            after = breakers.probe_succeeded(state.breaker, now)
            closed = after.open_until is None and state.breaker.open_until is not None
            return (replace(state, breaker=after, reason=None) if closed else state), closed

        if await self._board.change(server, close):
            self._log.info("a model provider is back", provider=server)
            await asyncio.shield(self._closed(server))

    def _tell_opened(self, server: str, reason: str) -> None:
        until = self._board.known(server).breaker.open_until
        seconds = 0.0 if until is None else (until - self._clock.now()).total_seconds()
        self._log.warning("a model provider is left alone", provider=server, seconds=round(seconds, 1), reason=reason)

    def _held_back(self, server: str, state: GuardState, seconds: float) -> LLMHeldBackError:
        why = f": {state.reason}" if state.reason else ""
        return LLMHeldBackError(f"{server} is left alone after failures{why}", retry_after=self._later(seconds))

    def _asked_to_wait(self, model: str, seconds: float) -> LLMRateLimitError:
        wait = self._spread(seconds)
        return LLMRateLimitError(f"{model} asked to be left alone for {seconds:.0f} s more", retry_after=wait)

    def _later(self, seconds: float) -> float:
        """After an opening or a probe: whoever waited comes back spread out, one of them probes."""
        return seconds + LOOK_AGAIN_SECONDS * self._random() if seconds else LOOK_AGAIN_SECONDS * (1 + self._random())

    def _spread(self, seconds: float) -> float:
        """Never earlier than asked, and not all at once."""
        return seconds * (1 + 0.5 * self._random())


def _probe(state: GuardState, now: datetime, lease_seconds: float) -> tuple[GuardState, datetime | None]:
    after = breakers.begin_probe(state.breaker, now, lease_seconds)
    return (state, None) if after == state.breaker else (replace(state, breaker=after), after.probe_until)


def _changes(
    decide: Callable[[breakers.Breaker], breakers.Breaker],
) -> Callable[[GuardState], tuple[GuardState, None]]:
    def change(state: GuardState) -> tuple[GuardState, None]:
        after = decide(state.breaker)
        return (state if after == state.breaker else replace(state, breaker=after)), None

    return change


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
