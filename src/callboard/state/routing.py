"""What a router decides about one event, and what routing a batch of them came to."""

from __future__ import annotations

from dataclasses import dataclass

from callboard.messaging.reply import ReplyTo
from callboard.state.finishing import Consequences
from callboard.state.runs import RunDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What whoever caused an event that started nothing is told: a sentence, and what there is instead."""

    target: ReplyTo
    text: str
    title: str = ""
    items: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The runs that an event starts; `expected` says that somebody meant it to start one."""

    runs: tuple[RunDraft, ...] = ()
    notices: tuple[Notice, ...] = ()
    expected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """`behind`: nothing was done, since there is a newer catalog than the one that was to decide."""

    events: int
    runs: int
    unmatched: int
    consequences: Consequences = Consequences()  # noqa: RUF009  # frozen
    behind: bool = False
