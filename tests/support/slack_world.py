"""A gateway on a real port, a real database file, a local Slack: what tests of the Slack side play in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from callboard.clock import Clock, SystemClock
from callboard.ids import RandomIds
from callboard.integrations.request_head import BoundedHttpProtocol
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_gateway import SlackGateway
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_question_desk import QuestionDesk
from callboard.integrations.slack_simulator import SlackSimulator
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.clarifications import Answer
from callboard.state.delivery_store import DeliveryStore
from callboard.state.finishing import Consequences
from callboard.state.sql.sqlite import SqliteDatabase
from callboard.state.store import Store
from tests.support.slack_app import SECRET, TOKEN
from tests.support.sqlite_file import open_sqlite


class Silence:
    """An announcer that tells nobody."""

    def offer(self, consequences: Consequences) -> None:
        return


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, *, http: type[BoundedHttpProtocol] = BoundedHttpProtocol) -> AsyncIterator[str]:
    """The address of `app` on a free port of this machine."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, http=http, log_config=None, access_log=False, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await server.ready.wait()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One system: its database, its gateway's address, the Slack it talks to and somebody who types there."""

    database: SqliteDatabase
    store: Store
    deliveries: DeliveryStore
    slack: LocalSlack
    client: SlackClient
    simulator: SlackSimulator
    url: str


Accept = Callable[[EventDraft], Awaitable[Accepted]]
GiveAnswer = Callable[[Answer], Awaitable[object]]


@contextlib.asynccontextmanager
async def slack_world(
    folder: Path,
    *,
    clock: Clock | None = None,
    secret: str | None = SECRET,
    token: str | None = TOKEN,
    accept: Accept | None = None,
    answer: GiveAnswer | None = None,
    body_seconds: float = 10.0,
) -> AsyncIterator[World]:
    """`accept` and `answer` take the place of the store's, for what no database can be made to do."""
    time = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_sqlite(folder))
        slack = await stack.enter_async_context(LocalSlack(clock=time))
        client = await stack.enter_async_context(SlackClient(token, api_url=slack.api_url, timeout_seconds=5.0))
        store = Store(database, Silence(), time)
        deliveries = DeliveryStore(database, time)

        gateway = SlackGateway(
            signing_secret=secret,
            accept=accept or store.accept_event,
            questions=QuestionDesk(
                question=store.clarification,
                answer=answer or store.answer,
                plan=deliveries.plan,
                slack=client,
                clock=time,
            ),
            slack=client,
            clock=time,
            ids=RandomIds(),
            body_seconds=body_seconds,
        )
        url = await stack.enter_async_context(serve(Starlette(routes=gateway.routes())))
        simulator = await stack.enter_async_context(
            SlackSimulator(slack, gateway_url=url, signing_secret=SECRET, clock=time)
        )
        yield World(
            database=database,
            store=store,
            deliveries=deliveries,
            slack=slack,
            client=client,
            simulator=simulator,
            url=url,
        )
