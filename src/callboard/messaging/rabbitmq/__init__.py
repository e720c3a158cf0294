"""The event bus over RabbitMQ: `RabbitEventBus`, the only name that the rest of the program needs.

    bus = RabbitEventBus("amqp://user:password@host/vhost", clock, process_id="p1", declares=True)
    await bus.start()                                       # does not wait for the broker
    await bus.publish(event)                                # a future that ends at the confirm
    await bus.deposit(event, dedupe_keys)                   # durable in the inbox, or UnavailableError within a second
    bus.subscribe(Queue(name="q", patterns=("a.#",)), handler)
    wake = bus.listen(["run.requested.#"])
    bus.signal("run.requested.autonomous.batch")
    await bus.ping(); await bus.get_queue_info(); await bus.declare()
    await bus.close()

One concept a file: `wire` (pika's connection with a fast path) < `channel` < `link` (reconnect) < `publisher`,
`delivery_loop`, `wake_queue`, `declaration` < `bus`; `frames`, `confirms`, `properties`, `onward`, `dead_letters` and
`failures` are pure.
"""

from callboard.messaging.rabbitmq.bus import RabbitEventBus

__all__ = ["RabbitEventBus"]
