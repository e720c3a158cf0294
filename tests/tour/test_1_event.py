"""Tour, 1 of 8: an event. Everything that happens is one, and it is kept before anybody works on it."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until


@pytest.mark.slow
async def test_an_event_is_what_somebody_did(callboard: Callboard) -> None:
    # Anna writes into a Slack channel. No agent is there to care.
    async with callboard.person() as anna:
        sent = await anna.message("Good morning!")

    # Callboard has kept the event, and says so by the 200.
    assert sent.status == 200

    # It has a topic, which says what kind of thing happened; the log names it with its trace id.
    def kept() -> bool:
        text = "".join(path.read_text() for path in callboard.logs.glob("*"))
        return '"topic":"slack.events.message.channel"' in text

    await wait_until(kept, "the log tells of the event")
