"""RabbitMQ: publishing with confirms, and consuming through the delivery loop."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peer_environment import peer_python
from benchmarks.rounds import Side, alternate
from benchmarks.servers import Servers
from benchmarks.table import Row

IN_FLIGHT = 100
PREFETCH = 200
BODY_BYTES = 1024


def measure(servers: Servers, *, rounds: int = 5, count: int = 20_000) -> list[Row]:
    return [*_publish(servers, rounds, count), *_consume(servers, rounds, count)]


def _publish(servers: Servers, rounds: int, count: int) -> list[Row]:
    def given(work: str, share: int = 1) -> Mapping[str, object]:
        return {
            **servers.fresh(),
            "work": work,
            "queue": "benchmark",
            "count": count // share,
            "in_flight": IN_FLIGHT,
            "body_bytes": BODY_BYTES,
        }

    found = alternate(
        [
            Side(name="ours", module="benchmarks.sides.bus", arguments=lambda: given("deposit")),
            Side(
                name="aio-pika",
                module="benchmarks.peers.aio_pika_bus",
                arguments=lambda: {**given("publish", 4), "by_topic": False},
                python=peer_python(),
            ),
            Side(name="ours by topic", module="benchmarks.sides.bus", arguments=lambda: given("publish")),
            Side(
                name="aio-pika by topic",
                module="benchmarks.peers.aio_pika_bus",
                arguments=lambda: {**given("publish", 4), "by_topic": True},
                python=peer_python(),
            ),
        ],
        rounds,
    )
    what = "publish, confirmed, 1 KiB persistent, 100 in flight"
    return [
        _rate(f"{what}, straight to a quorum queue", found["ours"]["rate"], 3, found["aio-pika"]["rate"], "aio-pika"),
        _rate(
            "… by the topic exchange and its bindings",
            found["ours by topic"]["rate"],
            3,
            found["aio-pika by topic"]["rate"],
            "aio-pika",
        ),
    ]


def _consume(servers: Servers, rounds: int, count: int) -> list[Row]:
    def given(share: int = 1) -> Mapping[str, object]:
        return {
            **servers.fresh(),
            "work": "consume",
            "queue": "benchmark",
            "count": count // share,
            "prefetch": PREFETCH,
            "body_bytes": BODY_BYTES,
        }

    def drained(*, safe: bool) -> Mapping[str, object]:
        return {**given(4), "work": "drain", "safe": safe}

    python = peer_python()
    found = alternate(
        [
            Side(name="ours", module="benchmarks.sides.bus", arguments=given),
            Side(name="aio-pika", module="benchmarks.peers.aio_pika_bus", arguments=lambda: given(2), python=python),
            Side(
                name="Celery",
                module="benchmarks.peers.celery_runs",
                arguments=lambda: drained(safe=False),
                python=python,
            ),
            Side(
                name="Celery, safe",
                module="benchmarks.peers.celery_runs",
                arguments=lambda: drained(safe=True),
                python=python,
            ),
            Side(name="dramatiq", module="benchmarks.peers.dramatiq_runs", arguments=lambda: given(4), python=python),
        ],
        rounds,
    )
    ours = found["ours"]["rate"]
    return [
        _rate("consume and ack, prefetch 200, empty handler", ours, 3, found["aio-pika"]["rate"], "aio-pika"),
        _rate("… against tasks that do nothing", ours, 4, found["Celery"]["rate"], "Celery, defaults, 4 processes"),
        _rate("… against the same, losing none", ours, 4, found["Celery, safe"]["rate"], "Celery, acks_late"),
        _rate("… against actors that do nothing", ours, None, found["dramatiq"]["rate"], "dramatiq, 4 processes"),
    ]


def _rate(subject: str, measured: float, bound: float | None, peer: float, peer_name: str) -> Row:
    return Row(
        subject=subject,
        measured=measured,
        unit="/s",
        bound=bound,
        floor=True,
        of_ratio=True,
        peer=peer,
        peer_name=peer_name,
    )
