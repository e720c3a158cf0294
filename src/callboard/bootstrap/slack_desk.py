"""Slack in and out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from callboard.bootstrap.core import Core
from callboard.clock import Clock
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_content import DeliveryContent
from callboard.integrations.slack_gateway import AcceptEvent, SlackGateway
from callboard.integrations.slack_question_desk import QuestionDesk
from callboard.integrations.slack_responder import SlackResponder
from callboard.messaging.topology import ALL_CLARIFICATIONS, DELIVERY_PLANNED
from callboard.messaging.wakeup import WakeUp
from callboard.settings import text_of
from callboard.state.deliveries import DeliveryDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackDesk:
    """Who listens to Slack, who answers, and what wakes the one who answers."""

    gateway: SlackGateway
    responder: SlackResponder
    wake: WakeUp


async def make_slack_desk(
    core: Core,
    accept: AcceptEvent,
    stack: contextlib.AsyncExitStack,
    *,
    clock: Clock,
    may_send: Callable[[], bool] = lambda: True,
) -> SlackDesk:
    """`accept` makes an event durable; `may_send` says whether this process still holds what it has claimed.

    `clock` is this machine's: Slack's signatures are as old as it says, whatever the database's clock says.
    """
    settings = core.settings
    slack = await stack.enter_async_context(
        SlackClient(text_of(settings.slack_bot_token), api_url=settings.slack_api_url)
    )
    responder = _responder(core, slack, may_send)

    async def plan(drafts: Sequence[DeliveryDraft]) -> None:
        await core.deliveries.plan(drafts)
        responder.wake()

    gateway = SlackGateway(
        signing_secret=text_of(settings.slack_signing_secret),
        accept=accept,
        questions=QuestionDesk(
            question=core.store.clarification, answer=core.store.answer, plan=plan, slack=slack, clock=clock
        ),
        slack=slack,
        clock=clock,
        ids=core.ids,
        observe=core.metrics.slack_acked,
    )
    return SlackDesk(gateway=gateway, responder=responder, wake=core.bus.listen([DELIVERY_PLANNED, ALL_CLARIFICATIONS]))


def _responder(core: Core, slack: SlackClient, may_send: Callable[[], bool]) -> SlackResponder:
    content = DeliveryContent(
        result=core.queries.result,
        clarification=core.store.clarification,
        artifacts=core.artifacts,
        uploads=slack.has_token,
    )

    async def file(artifact_id: str, tenant: str) -> bytes:
        _, body = await core.artifacts.load(artifact_id, tenant=tenant)
        return body

    return SlackResponder(
        core.deliveries, slack, content.load, core.clock, core.process_id, may_send=may_send, file=file
    )
