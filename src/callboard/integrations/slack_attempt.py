"""One attempt at one delivery: look whether it is there, send it, and say what that means for the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from callboard.clock import Clock
from callboard.failpoint import reached
from callboard.integrations.slack_blocks import AnswerFile, Message
from callboard.integrations.slack_client import Done, Limited, NotSent, Refused, Reply, SlackClient, Unsure
from callboard.integrations.slack_files import file_drafts
from callboard.integrations.slack_response_url import usable_response_url
from callboard.integrations.slack_routes import Route, edited_ts, find_closed, find_sent, look_up, plain, routes
from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryStatus

GIVE_UP_AFTER = timedelta(hours=24)
LOOK_AFTER = timedelta(seconds=2)
"""How long a message that may have arrived gets to show up in the channel's history."""

_LONGEST_BACKOFF_SECONDS = 60.0
_PAGES = 5
_BAD_BLOCKS = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "blocks_too_long"})


async def attempt(
    delivery: Delivery, message: Message, slack: SlackClient, clock: Clock, *, files: Sequence[AnswerFile] = ()
) -> AttemptOutcome:
    """Sends at most one message. Nothing is sent again before it is known that it did not arrive.

    Its `files` are planned in the transaction that writes that it was sent.
    """
    if delivery.interrupted and delivery.kind != "answered":
        settled = await _look(delivery, slack, clock, files)
        if settled is not None:
            return settled
    if delivery.kind == "answered" and edited_ts(delivery) is None:
        found = await _find_shown(delivery, slack, clock)
        if isinstance(found, AttemptOutcome):
            return found
        delivery = found
    now = clock.now()
    target = delivery.target
    if target.prefers_response_url and usable_response_url(target, uses=delivery.url_uses, now=now) is None:
        return _through_the_channel(delivery, "the response URL is used up or older than 30 minutes")
    last = "there is no bot token and no response URL that can be used (set SLACK_BOT_TOKEN)"
    for route in routes(delivery, message, now=now, has_token=slack.has_token):
        reply = await _send(route, slack)
        if not isinstance(reply, Refused):
            return settle(delivery, reply, clock.now(), files)
        last = reply.code
        if route.url is not None and target.prefers_response_url:
            return _through_the_channel(delivery, f"the response URL answered {last}")
    return AttemptOutcome(status=DeliveryStatus.FAILED, error=_error("slack_refused", last))


def settle(
    delivery: Delivery, reply: Done | NotSent | Limited | Unsure, now: datetime, files: Sequence[AnswerFile] = ()
) -> AttemptOutcome:
    """What an answer of Slack's, or the lack of one, means; pure."""
    late = now - delivery.created_at > GIVE_UP_AFTER
    match reply:
        case Done(data=data):
            sent_ts = str(data.get("ts") or "") or None
            return AttemptOutcome(
                status=DeliveryStatus.SENT,
                sent_ts=sent_ts,
                target=_where(delivery, data),
                follow_up=file_drafts(delivery, files, data.get("channel")),
            )
        case Limited(retry_after_seconds=seconds):
            until = now + timedelta(seconds=seconds)
            error = _error("rate_limited", f"Slack asked to wait {seconds:g} s")
            return AttemptOutcome(
                status=DeliveryStatus.FAILED if late else DeliveryStatus.PLANNED,
                next_try=until,
                hold_until=until,
                error=error,
            )
        case NotSent(reason=reason):
            error = _error("slack_unreachable", f"Slack cannot be reached: {reason}")
            if late:
                return AttemptOutcome(status=DeliveryStatus.FAILED, error=error)
            return AttemptOutcome(status=DeliveryStatus.PLANNED, next_try=now + backoff(delivery), error=error)
        case Unsure(reason=reason):
            error = _error("outcome_unknown", f"no valid answer came: {reason}")
            if late:
                return AttemptOutcome(status=DeliveryStatus.UNKNOWN, error=error)
            wait = max(LOOK_AFTER, backoff(delivery))
            return AttemptOutcome(status=DeliveryStatus.ATTEMPTING, next_try=now + wait, error=error)


def _where(delivery: Delivery, data: dict[str, Any]) -> ReplyTo | None:
    """A question's message is edited later, for which Slack wants the channel's id, not its name."""
    channel = data.get("channel")
    if delivery.kind not in ("question", "reminder") or not isinstance(channel, str):
        return None
    return None if channel == delivery.target.channel else replace(delivery.target, channel=channel)


def backoff(delivery: Delivery) -> timedelta:
    """1, 2, 4 … 60 seconds by the number of attempts."""
    return timedelta(seconds=min(_LONGEST_BACKOFF_SECONDS, 2.0 ** min(delivery.attempt - 1, 10)))


async def _send(route: Route, slack: SlackClient) -> Reply:
    reached("responder.attempting")
    reply = await _request(route, slack)
    if isinstance(reply, Refused) and reply.code in _BAD_BLOCKS:
        reply = await _request(plain(route), slack)
    reached("responder.sent")
    return reply


async def _request(route: Route, slack: SlackClient) -> Reply:
    if route.url is not None:
        return await slack.respond(route.url, route.arguments)
    return await slack.call(route.method, route.arguments)


async def _look(
    delivery: Delivery, slack: SlackClient, clock: Clock, files: Sequence[AnswerFile]
) -> AttemptOutcome | None:
    """None when the message is certainly not there; otherwise what to write."""
    where = look_up(delivery) if slack.has_token else None
    if where is None:
        return _unknown(delivery, "Slack cannot say whether a message to one person arrived")
    found = await search(where, partial(find_sent, delivery.id), slack)
    match found:
        case None:
            return None
        case str():
            follow_up = file_drafts(delivery, files)
            return AttemptOutcome(status=DeliveryStatus.SENT, sent_ts=found or None, follow_up=follow_up)
        case Refused(code=code):
            return _unknown(delivery, f"the channel's history cannot be read: {code}")
        case Limited(retry_after_seconds=seconds):
            return look_again(delivery, clock.now(), timedelta(seconds=seconds))
        case NotSent() | Unsure():
            return look_again(delivery, clock.now(), backoff(delivery))


async def _find_shown(delivery: Delivery, slack: SlackClient, clock: Clock) -> Delivery | AttemptOutcome:
    """The edit with the message that it is of, which is known by its mark only; else what to write."""
    shown_by = (delivery.body or {}).get("shown_by")
    where = look_up(delivery) if slack.has_token and isinstance(shown_by, str) else None
    if where is None:
        return delivery

    def one_of_it(page: Mapping[str, Any]) -> str | None:
        # Closed by the click in it, it has lost its mark: to close it once more changes nothing.
        return find_sent(str(shown_by), page) or find_closed(delivery.clarification_id or "", page)

    found = await search(where, one_of_it, slack)
    match found:
        case str() if found:
            return replace(delivery, body={**(delivery.body or {}), "message_ts": found})
        case None | str():
            return AttemptOutcome(status=DeliveryStatus.FAILED, error=_error("not_found", "the message is not there"))
        case Refused(code=code):
            return AttemptOutcome(status=DeliveryStatus.FAILED, error=_error("slack_refused", code))
        case _:
            outcome = settle(delivery, found, clock.now())
            return replace(outcome, status=DeliveryStatus.PLANNED) if outcome.next_try is not None else outcome


async def search(
    where: Route, find: Callable[[Mapping[str, Any]], str | None], slack: SlackClient
) -> str | Refused | Limited | NotSent | Unsure | None:
    """The `ts` that `find` sees in a page, None where it is certainly not there; else why nobody knows."""
    arguments: dict[str, Any] = dict(where.arguments)
    for _ in range(_PAGES):
        reply = await slack.read(where.method, arguments)
        if not isinstance(reply, Done):
            return reply
        ts = find(reply.data)
        if ts is not None:
            return ts
        cursor = (reply.data.get("response_metadata") or {}).get("next_cursor")
        if not cursor:
            return None
        arguments["cursor"] = cursor
    return Refused(code=f"not among the last {_PAGES} pages")


def look_again(delivery: Delivery, now: datetime, wait: timedelta) -> AttemptOutcome:
    """What to write while nobody can say yet whether it arrived."""
    if now - delivery.created_at > GIVE_UP_AFTER:
        return _unknown(delivery, "the channel's history could not be read for a day")
    error = _error("outcome_unknown", "whether an earlier attempt arrived is being looked up")
    return AttemptOutcome(status=DeliveryStatus.ATTEMPTING, next_try=now + wait, error=error)


def _unknown(delivery: Delivery, reason: str) -> AttemptOutcome:
    """The end of this delivery. The message is said once more, and says that it may be a repeat; a process that is
    killed while it says that must not be the end of it, so this goes on a bounded number of times."""
    follow_up = (delivery.repeat(),) if delivery.may_be_repeated else ()
    return AttemptOutcome(status=DeliveryStatus.UNKNOWN, error=_error("outcome_unknown", reason), follow_up=follow_up)


def _through_the_channel(delivery: Delivery, reason: str) -> AttemptOutcome:
    """The response URL is of no use any more: the next attempt goes to the channel, at the channel's pace."""
    return AttemptOutcome(
        status=DeliveryStatus.PLANNED,
        target=replace(delivery.target, response_url=None, expires_at=None),
        error=_error("response_url_unusable", reason),
    )


def _error(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}
