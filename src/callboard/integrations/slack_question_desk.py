"""Where clicks and forms that answer our questions are applied, at once, and their senders told what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from callboard.clock import Clock
from callboard.errors import CallboardError, ForbiddenError, NotFoundError, UnavailableError
from callboard.ids import derive_id
from callboard.integrations.slack_answers import AnswerGiven, FormWanted, form_metadata, read_answer
from callboard.integrations.slack_client import Done, SlackClient
from callboard.integrations.slack_events import SlackEvent
from callboard.integrations.slack_forms import ANSWER_BLOCK, first_block, form_view, read_form
from callboard.integrations.slack_text import harmless, shorten
from callboard.integrations.slack_user_groups import SlackUserGroups
from callboard.messaging.reply import RESPONSE_URL_LIFE, ReplyTo
from callboard.state.accepting import Accepted
from callboard.state.answer_rights import check_may_answer, groups_to_ask
from callboard.state.clarifications import Answer, Clarification, check_open
from callboard.state.deliveries import DeliveryDraft, closing_id

LoadQuestion = Callable[[str], Awaitable[Clarification | None]]

AnswerQuestion = Callable[[Answer], Awaitable[object]]
"""The first answer wins; ConflictError says who answered what, ForbiddenError who may, NotFoundError and
InvalidInputError what is wrong."""

PlanDeliveries = Callable[[Sequence[DeliveryDraft]], Awaitable[object]]
"""Puts messages into the delivery ledger; drafts with a known id are left out."""

_FORM_SECONDS = 1.2
_LONGEST_PROBLEM = 1500
_NO_FORM = (
    "The form could not be opened. Please press the button again, or answer with "
    "`callboard clarifications answer {clarification_id}`."
)
_TOO_LONG = (
    "The arguments are too long to be edited here. Use "
    "`callboard clarifications answer {clarification_id} --approve --arguments JSON`."
)


class QuestionDesk:
    """Applies answers that come from Slack. A repeated request applies nothing twice and tells nobody twice."""

    def __init__(
        self,
        *,
        question: LoadQuestion,
        answer: AnswerQuestion,
        plan: PlanDeliveries,
        slack: SlackClient,
        clock: Clock,
    ) -> None:
        self._question = question
        self._answer = answer
        self._plan = plan
        self._slack = slack
        self._clock = clock
        self._groups = SlackUserGroups(slack, clock)

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
            case AnswerGiven() as given if given.how is None:
                await self._apply_click(event, accepted, given)
                return None
            case AnswerGiven() as given:
                return await self._apply_form(event, accepted, given)

    async def _apply_click(self, event: SlackEvent, accepted: Accepted, given: AnswerGiven) -> None:
        try:
            question = await self._asked(given.clarification_id)
            await self._give(event, accepted, given, question, given.answer)
        except UnavailableError:
            raise
        except CallboardError as error:
            if not accepted.duplicate:
                await self._tell(event, accepted, error.message)

    async def _apply_form(self, event: SlackEvent, accepted: Accepted, given: AnswerGiven) -> dict[str, Any] | None:
        """Slack shows the person what is wrong, in the form, which stays open."""
        block, how = ANSWER_BLOCK, given.how or ""
        try:
            question = await self._asked(given.clarification_id)
            block = first_block(question, how)
            filled = read_form(question, how, given.entered or {})
            if filled.problems is not None:
                return _errors(filled.problems)
            await self._give(event, accepted, given, question, filled.answer)
        except UnavailableError:
            raise
        except CallboardError as error:
            return _errors({block: error.message})
        return None

    async def _give(
        self, event: SlackEvent, accepted: Accepted, given: AnswerGiven, question: Clarification, answer: Any
    ) -> None:
        now = self._clock.now()
        await self._answer(
            Answer(
                run_id=given.run_id,
                answer=answer,
                now=now,
                actor=event.actor,
                clarification_id=given.clarification_id,
                answered_by=event.user_name,
                groups=await self._groups_of(question, event),
                edits=(_closed_question(accepted, given, event, now),),
            )
        )

    async def _open_form(self, event: SlackEvent, accepted: Accepted, wanted: FormWanted) -> None:
        if accepted.duplicate:
            return
        try:
            question = await self._asked(wanted.value.clarification_id)
            check_open(question)
            check_may_answer(question, event.actor, await self._groups_of(question, event))
        except UnavailableError:
            raise
        except CallboardError as error:
            await self._tell(event, accepted, error.message)
            return
        view = form_view(question, wanted.how, form_metadata(event, wanted))
        if view is None:
            await self._tell(event, accepted, _TOO_LONG.format(clarification_id=question.id))
            return
        arguments = {"trigger_id": event.payload["trigger_id"], "view": view}
        reply = await self._slack.call("views.open", arguments, timeout_seconds=_FORM_SECONDS)
        if not isinstance(reply, Done):
            await self._tell(event, accepted, _NO_FORM.format(clarification_id=question.id))

    async def _asked(self, clarification_id: str) -> Clarification:
        question = await self._question(clarification_id)
        if question is None:
            raise NotFoundError(f"there is no question {clarification_id} any more", code="no_question")
        return question

    async def _groups_of(self, question: Clarification, event: SlackEvent) -> frozenset[str]:
        """The question's groups that the person is known to be in. ForbiddenError where Slack does not say."""
        unknown: list[str] = []
        for group in groups_to_ask(question, event.actor):
            try:
                if event.user_id in await self._groups.members(group):
                    return frozenset({group})
            except UnavailableError:
                unknown.append(group)
        if unknown:
            raise ForbiddenError(
                f"Slack does not say right now who is in {', '.join(unknown)}, so nothing was recorded; "
                f"please try again in a minute",
                code="may_not_answer",
            )
        return frozenset()

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


def _errors(problems: Any) -> dict[str, Any]:
    shown = {block: shorten(harmless(text), _LONGEST_PROBLEM) for block, text in problems.items()}
    return {"response_action": "errors", "errors": shown}


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
        id=closing_id(given.clarification_id, given.message_ts or accepted.event_id),
        kind="answered",
        target=target,
        trace_id=accepted.trace_id,
        run_id=given.run_id,
        event_id=accepted.event_id,
        clarification_id=given.clarification_id,
        body={"message_ts": given.message_ts},
    )
