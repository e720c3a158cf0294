"""Who passes on what committed transactions brought about (port)."""

from __future__ import annotations

from typing import Protocol

from callboard.state.finishing import Consequences


class Announcer(Protocol):
    """Tells the world of events that were stored and wakes whoever has work.

    Only a hint: the events are rows that somebody publishes sooner or later, and whoever has work looks for it.
    """

    def offer(self, consequences: Consequences) -> None:
        """Call it after the commit. Returns at once, never raises, may lose what it is offered."""
        ...


class Silent:
    """Tells nobody anything: for whoever brings nothing about."""

    def offer(self, consequences: Consequences) -> None: ...
