# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
"""A dramatiq broker and an actor that does nothing; its worker acknowledges after the actor, as it always does."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.peers.counting import Counter

counter = Counter.inherited()
broker = RabbitmqBroker(url=os.environ["DRAMATIQ_URL"], confirm_delivery=bool(os.environ.get("DRAMATIQ_CONFIRM")))
dramatiq.set_broker(broker)
QUEUE = os.environ["DRAMATIQ_QUEUE"]


@dramatiq.actor(queue_name=QUEUE)
def nothing(text: str) -> None:
    counter.one_more()
