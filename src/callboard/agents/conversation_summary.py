"""Making room in a long conversation: its older part is told by a summary, which costs one model call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callboard.agents.conversation_view import ConversationView, to_summarise, too_much
from callboard.agents.engine import Usage
from callboard.agents.engines.model_call import Answered, Asker, ask_model
from callboard.agents.engines.notes import model_notes
from callboard.agents.engines.summary import MAX_CHARS, summarise
from callboard.agents.engines.text_limits import storable
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.planner_seat import PlannerSeat
from callboard.clock import Clock
from callboard.errors import FencedError
from callboard.llm.provider import LLMRequest, LLMResponse, Message
from callboard.logs import StructuredLogger

SUMMARY_TOKENS = 800
_CALL = -1
"""The number of this model call in its claim: the engine counts its own from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMade:
    """What the model is to be shown, and the view to be stored with the end of the run, if it has changed."""

    shown: tuple[Message, ...]
    view: ConversationView | None = None


class ConversationSummary:
    """Keeps conversations within `memory.summarise_above_tokens`.

    A summary that cannot be had fails no run: what fits is shown, and the next run tries again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log = StructuredLogger("conversation-summary")

    async def make_room(self, agent: ExecutionAgent, assignment: Assignment, view: ConversationView) -> RoomMade:
        settings, estimate = agent.definition.memory, agent.provider.estimate_tokens
        count = to_summarise(view, settings.summarise_above_tokens, settings.keep_messages, estimate)
        if not count:
            return RoomMade(shown=view.shown)
        tokens = min(SUMMARY_TOKENS, settings.summarise_above_tokens // 4)
        text = await self._summary(agent, assignment, (*view.summaries, *view.messages[:count]), tokens)
        if text is None:
            unseen = too_much(view, settings.summarise_above_tokens, estimate)
            return RoomMade(shown=view.newest(unseen).shown)
        told = view.with_summary(text, count)
        return RoomMade(shown=told.shown, view=told)

    async def _summary(
        self, agent: ExecutionAgent, assignment: Assignment, messages: Sequence[Message], tokens: int
    ) -> str | None:
        """None where there is none; what it has cost is stored at once, with the run."""
        seat = PlannerSeat.of(agent, assignment, self._clock)
        model = _Summariser(seat)
        chars = min(MAX_CHARS, max(1000, (agent.window - seat.config.max_tokens) * 3))
        try:
            text, usage = await summarise(model, messages, tokens, max_chars=chars)
        except FencedError:
            raise
        except _NoSummaryError as error:
            self._log.warning("the conversation is not summarised now", reason=error.reason)
            return None
        except Exception as error:  # noqa: BLE001  # a model that breaks here may still answer the run
            self._log.warning("the conversation is not summarised now", reason=f"{type(error).__name__}: {error}")
            return None
        await self._book(agent, assignment, model, usage)
        return storable(agent.redact(text)) if text.strip() else None

    async def _book(self, agent: ExecutionAgent, assignment: Assignment, model: _Summariser, usage: Usage) -> None:
        answer = model.answer
        if answer is None:
            return
        notes = model_notes(answer.response, seconds=answer.seconds, turn=0, redact=agent.redact, purpose="memory")
        await assignment.journal.append([], usage, notes)


class _NoSummaryError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Summariser:
    """The agent's model, within the run's budgets, as the summary needs it."""

    def __init__(self, seat: Asker) -> None:
        self._seat = seat
        self.answer: Answered | None = None

    async def complete(self, request: LLMRequest) -> LLMResponse:
        answer = await ask_model(self._seat, request, call=_CALL)
        if not isinstance(answer, Answered):
            raise _NoSummaryError(getattr(answer, "message", "it would pass a budget"))
        self.answer = answer
        return answer.response
