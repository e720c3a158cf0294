"""Which agents cannot work in this process, and whose runs it therefore leaves to others."""

from __future__ import annotations

from collections.abc import Callable

from callboard.state.agent_health import Refusal


class Refusals:
    """Of one pool. An agent is closed from the first of its runs that was turned away, for as long as the next would
    be turned away too: without that the pool would claim and hand back the same run for ever."""

    def __init__(self, refusal: Callable[[str], Refusal | None]) -> None:
        """`refusal` says why an agent cannot work here now, None if it can; it is asked for every run and every claim,
        so it must not wait for anything."""
        self._refusal = refusal
        self._turned_away: frozenset[str] = frozenset()

    def of(self, agent: str) -> Refusal | None:
        """Why it cannot work here now, None if it can."""
        return self._refusal(agent)

    def turn_away(self, agent: str) -> None:
        """A run of the agent goes back to the backlog."""
        self._turned_away |= {agent}

    def closed(self) -> frozenset[str]:
        """Agents of which nothing may be claimed. One that nobody can work with is not among them: its runs are to be
        claimed, and to fail."""
        closed = {agent for agent in self._turned_away if (refused := self._refusal(agent)) and not refused.everywhere}
        self._turned_away = frozenset(closed)
        return self._turned_away
