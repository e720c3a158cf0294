"""Where clicks and forms that answer our questions are applied, at once, and their senders told what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from callboard.clock import Clock
from callboard.errors import CallboardError, UnavailableError
from callboard.ids import derive_id
from callboard.integrations.slack_answers import ANSWER_BLOCK, AnswerGiven, FormWanted, answer_form, read_answer
from callboard.integrations.slack_client import Done, SlackClient
from callboard.integrations.slack_events import SlackEvent
from callboard.messaging.events import EventType
from callboard.messaging.reply import RESPONSE_URL_LIFE, ReplyTo
from callboard.state.accepting import Accepted
from callboard.state.clarifications import Answer
from callboard.state.deliveries import DeliveryDraft

AnswerQuestion = Callable[[Answer], Awaitable[object]]
"""The first answer wins; ConflictError says who answered what, NotFoundError and InvalidInputError what is wrong."""

PlanDeliveries = Callable[[Sequence[DeliveryDraft]], Awaitable[object]]
"""Puts messages into the delivery ledger; drafts with a known id are left out."""

_FORM_SECONDS = 1.2
_NO_FORM = (
    "The form could not be opened. Please press the button again, or answer with "
    "`callboard clarifications answer {clarification_id}`."
)


class QuestionDesk:
    """Applies answers that come from Slack. A repeated request applies nothing twice and tells nobody twice."""

    def __init__(self, *, answer: AnswerQuestion, plan: PlanDeliveries, slack: SlackClient, clock: Clock) -> None:
        self._answer = answer
        self._plan = plan
        self._slack = slack
        self._clock = clock

    async def serve(self, event: SlackEvent, accepted: Accepted) -> dict[str, Any] | None:
        """What Slack is to be answered, where that matters; None for events that are not about a question of ours.

        Raises UnavailableError when the answer could not be recorded.
        """
        match read_answer(event):
            case None:
                return None
            case FormWanted() as wanted:
                await self._open_form(event, accepted, wanted)
                return None
            case AnswerGiven() as given:
                return await self._apply(event, accepted, given)

    async def _apply(self, event: SlackEvent, accepted: Accepted, given: AnswerGiven) -> dict[str, Any] | None:
        now = self._clock.now()
        try:
            await self._answer(
                Answer(
                    run_id=given.run_id,
                    answer=given.answer,
                    now=now,
                    actor=event.actor,
                    clarification_id=given.clarification_id,
                    answered_by=event.user_name,
                )
            )
        except UnavailableError:
            raise
        except CallboardError as error:
            if event.event_type is EventType.SLACK_VIEW:
                return {"response_action": "errors", "errors": {ANSWER_BLOCK: error.message}}
            if not accepted.duplicate:
                await self._tell(event, accepted, error.message)
            return None
        await self._plan([_closed_question(accepted, given, event, now)])
        return None

    async def _open_form(self, event: SlackEvent, accepted: Accepted, wanted: FormWanted) -> None:
        if accepted.duplicate:
            return
        arguments = {"trigger_id": event.payload["trigger_id"], "view": answer_form(event, wanted.value)}
        reply = await self._slack.call("views.open", arguments, timeout_seconds=_FORM_SECONDS)
        if not isinstance(reply, Done):
            await self._tell(event, accepted, _NO_FORM.format(clarification_id=wanted.value.clarification_id))

    async def _tell(self, event: SlackEvent, accepted: Accepted, text: str) -> None:
        """One line that only the person who clicked sees."""
        target = ReplyTo.from_slack(event.payload, "ephemeral", self._clock.now())
        draft = DeliveryDraft(
            id=derive_id("told", accepted.event_id),
            kind="notice",
            target=target,
            trace_id=accepted.trace_id,
            event_id=accepted.event_id,
            body={"text": text},
        )
        await self._plan([draft])


def _closed_question(accepted: Accepted, given: AnswerGiven, event: SlackEvent, now: datetime) -> DeliveryDraft:
    """The message that asked loses its buttons and says who answered."""
    target = ReplyTo(
        channel=given.channel,
        response_url=given.response_url,
        user=event.user_id,
        mode="channel",
        team=event.payload["team"],
        expires_at=now + RESPONSE_URL_LIFE if given.response_url else None,
    )
    return DeliveryDraft(
        id=derive_id("answered", given.clarification_id),
        kind="answered",
        target=target,
        trace_id=accepted.trace_id,
        run_id=given.run_id,
        event_id=accepted.event_id,
        clarification_id=given.clarification_id,
        body={"message_ts": given.message_ts},
    )
