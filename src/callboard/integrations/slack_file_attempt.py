"""One attempt at putting one file where its answer stands.

Slack takes a file in three steps: it names a URL and an id, takes the bytes there, and shows the file when it is told
to (`files.completeUploadExternal`). Only the last is seen, so the first two may be done again whenever they went wrong,
and the id is written down before the last. What an attempt left open is found out by looking for a message with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import orjson

from callboard.clock import Clock
from callboard.errors import NotFoundError
from callboard.failpoint import reached
from callboard.integrations.slack_attempt import backoff, look_again, search, settle
from callboard.integrations.slack_client import Done, Limited, NotSent, Refused, SlackClient, Unsure
from callboard.integrations.slack_files import OwedFile, apology, find_file, share_arguments
from callboard.integrations.slack_routes import look_up
from callboard.integrations.slack_text import harmless
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryStatus

LoadFile = Callable[[str, str], Awaitable[bytes]]
"""The bytes of an artifact by its id and tenant."""

LOOKS = 2
SHOWS_WITHIN = timedelta(seconds=5)
"""Slack shows a file some time after it said that it did (a scan comes before), so one look is not enough."""

_TAKEN_OVER = AttemptOutcome(status=DeliveryStatus.PLANNED)
"""Of a delivery that is somebody else's by now: nothing of it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDesk:
    """What an attempt at a file needs: its bytes (NotFoundError where they are gone), a place to remember in (False:
    the delivery is somebody else's by now), and whether this process still holds what it has claimed."""

    load: LoadFile
    remember: Callable[[Delivery, dict[str, Any]], Awaitable[bool]]
    may_send: Callable[[], bool]


async def no_file(artifact_id: str, tenant: str) -> bytes:
    """Where there are no artifacts. Raises NotFoundError."""
    raise NotFoundError(f"there is no artifact {artifact_id} of {tenant}")


async def attempt_file(delivery: Delivery, desk: FileDesk, slack: SlackClient, clock: Clock) -> AttemptOutcome:
    """Shows the file at most once. Where it stays away for good, the people who wait for it are told."""
    owed = OwedFile.of(delivery)
    outcome = await _attempt(delivery, owed, desk, slack, clock)
    if outcome.status not in (DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN):
        return outcome
    error = outcome.error or {}
    code = error.get("message") if error.get("code") == "slack_refused" else error.get("code")
    unknown = outcome.status is DeliveryStatus.UNKNOWN
    return replace(outcome, follow_up=(apology(delivery, owed, str(code), unknown=unknown),))


async def _attempt(
    delivery: Delivery, owed: OwedFile, desk: FileDesk, slack: SlackClient, clock: Clock
) -> AttemptOutcome:
    if delivery.interrupted and owed.file_id is not None:
        settled = await _look(delivery, owed, desk, slack, clock)
        return settled if settled is not None else await _share(delivery, owed, desk, slack, clock)
    if share_arguments(delivery, owed) is None:
        return _failed("channel_not_found")
    body = await desk.load(owed.artifact_id, delivery.tenant)
    if owed.file_id is not None and not await desk.remember(delivery, replace(owed, file_id=None, looks=0).body()):
        return _TAKEN_OVER
    uploaded = await _upload(owed, body, slack)
    if isinstance(uploaded, Refused):
        return _failed(uploaded.code)
    if not isinstance(uploaded, str):
        # Nothing was seen of it: what may have been done is done anew, with another id.
        again = NotSent(reason=uploaded.reason) if isinstance(uploaded, Unsure) else uploaded
        return settle(delivery, again, clock.now())
    owed = replace(owed, file_id=uploaded, looks=0)
    if not await desk.remember(delivery, owed.body()):
        return _TAKEN_OVER
    reached("responder.file_known")
    return await _share(delivery, owed, desk, slack, clock)


async def _upload(owed: OwedFile, body: bytes, slack: SlackClient) -> str | NotSent | Limited | Unsure | Refused:
    """The id under which Slack has the bytes; nobody sees them yet."""
    place = await slack.submit("files.getUploadURLExternal", {"filename": owed.name, "length": len(body)})
    if not isinstance(place, Done):
        return place
    url, file_id = place.data.get("upload_url"), place.data.get("file_id")
    if not isinstance(url, str) or not isinstance(file_id, str) or not file_id:
        return Unsure(reason="the answer has no upload_url or file_id")
    reached("responder.file_named")
    taken = await slack.upload(url, body)
    reached("responder.file_uploaded")
    return file_id if isinstance(taken, Done) else taken


async def _share(
    delivery: Delivery, owed: OwedFile, desk: FileDesk, slack: SlackClient, clock: Clock
) -> AttemptOutcome:
    arguments = share_arguments(delivery, owed)
    if arguments is None:
        return _failed("channel_not_found")
    if not desk.may_send():
        return settle(delivery, NotSent(reason="this process was silent for too long"), clock.now())
    files = [{**file, "title": harmless(file["title"])} for file in arguments["files"]]
    form = {**arguments, "files": orjson.dumps(files).decode()}
    reply = await slack.submit("files.completeUploadExternal", form)
    reached("responder.file_shared")
    if isinstance(reply, Refused) and owed.looks:
        # Slack takes an id once only: this may say that an earlier attempt was taken after all.
        return AttemptOutcome(status=DeliveryStatus.UNKNOWN, error=_error("outcome_unknown", reply.code))
    return _failed(reply.code) if isinstance(reply, Refused) else settle(delivery, reply, clock.now())


async def _look(
    delivery: Delivery, owed: OwedFile, desk: FileDesk, slack: SlackClient, clock: Clock
) -> AttemptOutcome | None:
    """None when the file is certainly not there; otherwise what to write."""
    where = look_up(delivery)
    if where is None or owed.file_id is None:
        return AttemptOutcome(status=DeliveryStatus.UNKNOWN, error=_error("outcome_unknown", "nobody can look"))
    found = await search(where, partial(find_file, owed.file_id), slack)
    match found:
        case str():
            return AttemptOutcome(status=DeliveryStatus.SENT, sent_ts=found or None)
        case Refused(code=code):
            return AttemptOutcome(status=DeliveryStatus.UNKNOWN, error=_error("outcome_unknown", code))
        case Limited(retry_after_seconds=seconds):
            return look_again(delivery, clock.now(), timedelta(seconds=seconds))
        case NotSent() | Unsure():
            return look_again(delivery, clock.now(), backoff(delivery))
        case None if owed.looks + 1 >= LOOKS:
            return None
        case None:
            known = await desk.remember(delivery, replace(owed, looks=owed.looks + 1).body())
            return look_again(delivery, clock.now(), SHOWS_WITHIN) if known else _TAKEN_OVER


def _failed(code: str) -> AttemptOutcome:
    return AttemptOutcome(status=DeliveryStatus.FAILED, error=_error("slack_refused", code))


def _error(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}
