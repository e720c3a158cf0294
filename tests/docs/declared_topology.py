"""What the program declares at a broker, recorded instead of sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from callboard.messaging.rabbitmq.declaration import QueueType, Topology
from callboard.messaging.rabbitmq.wake_queue import Listeners, WakeQueue
from callboard.messaging.rabbitmq.wire import Wire

Done = Callable[[Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    name: str
    kind: str
    internal: bool
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredQueue:
    name: str
    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """`arguments` are the headers asked for, `key` the pattern."""

    source: str
    target: str
    key: str
    arguments: Mapping[str, Any]


@dataclass(slots=True)
class Declared:
    """A connection to no broker: every declaration is agreed to and kept."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    queues: dict[str, DeclaredQueue] = field(default_factory=dict)
    bindings: list[Binding] = field(default_factory=list)

    def channel(self, on_open_callback: Done) -> _Channel:
        channel = _Channel(self)
        on_open_callback(channel)
        return channel

    def route_content(self, number: int, sink: object) -> None: ...

    def forget_content(self, number: int) -> None: ...


class _Channel:
    """As much of pika's channel as declarations need."""

    channel_number = 1
    is_open = True

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def add_on_close_callback(self, callback: object) -> None: ...

    def close(self) -> None: ...

    def exchange_declare(
        self, name: str, kind: str, *, durable: bool, internal: bool, arguments: Mapping[str, Any], callback: Done
    ) -> None:
        assert durable, name
        self._declared.exchanges[name] = Exchange(name=name, kind=kind, internal=internal, arguments=arguments)
        callback(None)

    def exchange_bind(
        self, target: str, source: str, key: str, *, arguments: Mapping[str, Any], callback: Done
    ) -> None:
        self._declared.bindings.append(Binding(source=source, target=target, key=key, arguments=arguments))
        callback(None)

    def queue_declare(
        self,
        name: str,
        *,
        passive: bool,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Mapping[str, Any],
        callback: Done,
    ) -> None:
        assert not passive, name
        self._declared.queues[name] = DeclaredQueue(
            name=name, durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments
        )
        callback(SimpleNamespace(method=SimpleNamespace(queue=name, message_count=0, consumer_count=0)))

    def queue_bind(self, target: str, source: str, key: str, *, arguments: Mapping[str, Any], callback: Done) -> None:
        self.exchange_bind(target, source, key, arguments=arguments, callback=callback)

    def basic_consume(self, queue: str, ignored: object, *, auto_ack: bool, consumer_tag: str, callback: Done) -> None:
        callback(None)


async def declared(queue_type: QueueType) -> Declared:
    """Everything that the roles declare, with the queue of one process that only wakes (its name is the broker's)."""
    made = Declared()
    wire = cast("Wire", made)
    topology = Topology(queue_type)
    await topology.exchanges(wire)
    await topology.inbox(wire)
    await WakeQueue(Listeners(), "", lambda: None).attach(wire, anew=True)
    return made
