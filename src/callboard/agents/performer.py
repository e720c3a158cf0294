"""Where the pools differ: what each does with a claimed run of its mode (port), and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from callboard.agents.engine import Outcome
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.config.catalog import CatalogEntry
from callboard.state.finishing import Settlement


class Performer(Protocol):
    """Works on claimed runs of `mode`, any number at once.

    It may be stopped at any await and asked for the same run again, in this process or another: what must not happen
    twice goes through the assignment's journal, and nothing of a run may be kept in the performer.
    """

    mode: str

    async def perform(self, agent: ExecutionAgent, entry: CatalogEntry, assignment: Assignment) -> Performance:
        """One attempt by `agent`, which is made from `entry`; returns when it ended or the run has to wait.

        It writes no end of the run: that is the pool's, from what is returned. Raises what the engine raises: each
        error but FencedError is a failed attempt.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What an attempt came to.

    `outcome` is what the agent returned: None is an agent that returned nothing. `adds` puts what the mode stores in
    the same transaction into the settlement that is made of it. A `settlement` that is there already is the whole
    answer: then the other two are not looked at.
    """

    outcome: Outcome | None = None
    adds: Callable[[Settlement], Settlement] = field(default=lambda settlement: settlement)
    settlement: Settlement | None = None


def pool_name(mode: str) -> str:
    """As the pool of a mode is called in logs."""
    return f"{mode}-agent-pool"
