"""The loop that turns accepted events into runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from callboard.clock import Clock
from callboard.config.catalog import Catalog
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.delivery import DeadLetterSink, Undeliverable
from callboard.messaging.event_bus import EventBus
from callboard.messaging.events import Event
from callboard.messaging.topology import EVERYTHING, INBOX
from callboard.orchestrator.router import Router
from callboard.state.finishing import StoredEvent
from callboard.state.routing import Routing
from callboard.state.store import ROUTE_AT_ONCE, Store

POLL_SECONDS = 1.0


class _UndecidableError(Exception):
    def __init__(self, stored: StoredEvent) -> None:
        super().__init__(f"the router cannot decide about event {stored.event.event_id}")
        self.stored = stored


class Dispatcher:
    """Wakes on every event and routes all that is unrouted, in the order of acceptance, once (DESIGN.md, R9)."""

    def __init__(
        self,
        store: Store,
        bus: EventBus,
        catalog: Callable[[], Catalog],
        clock: Clock,
        dead_letter: DeadLetterSink,
        *,
        refresh: Callable[[], Awaitable[object]] | None = None,
        default_agent: str | None = None,
    ) -> None:
        """`dead_letter` keeps an event that the router cannot decide about, so that it holds up no other.

        `refresh` makes `catalog` the newest one; with it no event is routed by an older catalog than was in force when
        the event was accepted.
        """
        self._store = store
        self._wake = bus.listen([EVERYTHING], signals=False)
        self._catalog = catalog
        self._clock = clock
        self._dead_letter = dead_letter
        self._refresh = refresh
        self._given_up: set[str] = set()
        self._default_agent = default_agent
        self._router: Router | None = None
        self._number = -1
        self._log = StructuredLogger("agent-orchestrator")

    async def run(self) -> None:
        """For ever; a store that is away is tried again at the next poll."""
        while True:
            await self._wake.wait()
            try:
                await self._route_all()
            except UnavailableError as error:
                self._log.warning("cannot route events", reason=error.message)

    async def poll(self) -> None:
        """Looks once a second, for the wake-ups that were lost."""
        await self._wake.poll(self._clock, POLL_SECONDS)

    async def _route_all(self) -> None:
        asks = self._refresh is not None
        while True:
            router = self._current()
            decided: list[tuple[StoredEvent, Routing]] = []

            def decide(
                stored: StoredEvent, router: Router = router, decided: list[tuple[StoredEvent, Routing]] = decided
            ) -> Routing:
                decision = self._decide(router, stored)
                decided.append((stored, decision))
                return decision

            try:
                routed = await self._store.route(decide, catalog=self._number if asks else None)
            except _UndecidableError as error:
                await self._give_up(error.stored.event, error)
                continue
            if routed.behind and self._refresh is not None:
                await self._refresh()
                asks = False  # what the refresh brought will do, else this could go on for ever
                continue
            asks = self._refresh is not None
            for stored, decision in decided:
                # Marked as routed now: when somebody requeues its dead letter, it is tried again.
                self._given_up.discard(stored.event.event_id)
                self._tell(stored, decision)
            if routed.events < ROUTE_AT_ONCE:
                return

    def _decide(self, router: Router, stored: StoredEvent) -> Routing:
        if stored.event.event_id in self._given_up:
            return Routing(expected=True)
        try:
            return router.route(stored)
        except Exception as error:  # whatever it is, one event must not stop those behind it
            raise _UndecidableError(stored) from error

    async def _give_up(self, event: Event, error: _UndecidableError) -> None:
        """Kept before it is marked as routed, so that a crash between the two loses nothing."""
        cause = error.__cause__
        reason = f"no route: {type(cause).__name__}: {cause}"
        self._log.error("event cannot be routed", event_id=event.event_id, topic=event.topic, exc_info=error)
        await self._dead_letter(
            Undeliverable(
                queue=INBOX,
                topic=event.topic,
                body=event.to_json(),
                reason=reason,
                deliveries=1,
                event_id=event.event_id,
                trace_id=event.trace_id,
                tenant=event.tenant,
            )
        )
        self._given_up.add(event.event_id)

    def _current(self) -> Router:
        catalog = self._catalog()
        if self._router is None or catalog.number != self._number:
            self._router = Router(catalog, self._default_agent)
            self._number = catalog.number
        return self._router

    def _tell(self, stored: StoredEvent, decision: Routing) -> None:
        event = stored.event
        if not decision.expected and not decision.runs:
            return
        self._log.info(
            "event routed" if decision.runs else "event matches no agent",
            trace_id=event.trace_id,
            event_id=event.event_id,
            topic=event.topic,
            runs=[draft.run_id for draft in decision.runs],
            agents=[draft.agent for draft in decision.runs],
        )
