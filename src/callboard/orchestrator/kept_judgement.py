"""Whether an agent can work, looked at anew once a second: every run asks, and looking builds its tools."""

from __future__ import annotations

from collections.abc import Callable

from callboard.clock import Clock
from callboard.config.definition import AgentDefinition

KEPT_SECONDS = 1.0
_MOST_KEPT = 10_000


class KeptJudgement:
    """Answers for a definition what `judge` said of it at most a second ago."""

    def __init__(self, judge: Callable[[AgentDefinition], str | None], clock: Clock) -> None:
        self._judge = judge
        self._clock = clock
        # By identity: a definition that has changed is another object, and this one is kept alive with its judgement.
        self._kept: dict[int, tuple[AgentDefinition, float, str | None]] = {}

    def why_unavailable(self, definition: AgentDefinition) -> str | None:
        """The reason for people why the agent cannot work here, None when it can."""
        now = self._clock.monotonic()
        kept = self._kept.get(id(definition))
        if kept is not None and now < kept[1]:
            return kept[2]
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        reason = self._judge(definition)
        self._kept[id(definition)] = (definition, now + KEPT_SECONDS, reason)
        return reason
