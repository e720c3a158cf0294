"""One try of a run in one process: who works on it, until when, and why it was stopped, if it was."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from callboard.agents.pulse import Pulse
from callboard.state.runs import ClaimedRun, Run


class Interruption(Enum):
    """Why an attempt is stopped from outside."""

    TIMED_OUT = auto()
    CANCELLED = auto()
    UNRESPONSIVE = auto()
    DRAINED = auto()


@dataclass(eq=False, slots=True)
class Attempt:
    """A claimed run with the task that works on it. `deadline` is a time of the clock's `monotonic`, `pulse` the
    agent's.

    The first interruption counts, and none does once the attempt is `over`: what the run came to is then on its way to
    the store, and must arrive there.
    """

    claimed: ClaimedRun
    task: asyncio.Task[None]
    pulse: Pulse
    deadline: float
    interruption: Interruption | None = None
    over: bool = False

    @property
    def run(self) -> Run:
        return self.claimed.run

    def interrupt(self, why: Interruption) -> None:
        if self.interruption is None and not self.over:
            self.interruption = why
            self.task.cancel()
