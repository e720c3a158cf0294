"""The headers under which a message is sent on, to another queue or back into its own."""

from __future__ import annotations

from callboard.messaging.message import Message
from callboard.messaging.topology import (
    HEADER_DELIVERIES,
    HEADER_LETTER,
    HEADER_QUEUE,
    HEADER_REASON,
    HEADER_TOPIC,
)

LONGEST_REASON = 2000

Headers = dict[str, str | int]


def counted(message: Message, deliveries: int) -> Headers:
    """Of a message that comes again, after so many deliveries."""
    # The routing key of a message that was sent on is a queue's name: its topic is the one it had at first.
    return {HEADER_TOPIC: str(message.headers.get(HEADER_TOPIC, message.topic)), HEADER_DELIVERIES: deliveries}


def buried(message: Message, queue: str, reason: str, letter_id: str) -> Headers:
    """Of a dead letter."""
    return {
        **counted(message, message.deliveries),
        HEADER_REASON: reason[:LONGEST_REASON],
        HEADER_QUEUE: queue,
        HEADER_LETTER: letter_id,
    }
