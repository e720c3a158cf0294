"""A process of its own with a gateway and a responder over one database file, to be killed at its fail points.

`python -m tests.support.slack_process FOLDER SLACK_API_URL`; prints `listening on URL` when ready.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from starlette.applications import Starlette

from callboard.clock import SystemClock
from callboard.ids import RandomIds
from callboard.integrations.slack_blocks import Content
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_content import notice_content
from callboard.integrations.slack_gateway import SlackGateway
from callboard.integrations.slack_question_desk import QuestionDesk
from callboard.integrations.slack_responder import SlackResponder
from callboard.lifecycle import StopSignal
from callboard.state.deliveries import Delivery
from callboard.state.delivery_store import DeliveryStore
from callboard.state.store import Store
from tests.support.slack_app import SECRET, TOKEN
from tests.support.slack_world import Silence, serve
from tests.support.sqlite_file import open_sqlite

OWNER = "child"


async def content(delivery: Delivery) -> Content:
    return notice_content(delivery)


async def file(artifact_id: str, tenant: str) -> bytes:
    return f"the file {artifact_id} of {tenant}".encode()


async def main(folder: Path, api_url: str) -> None:
    clock = SystemClock()
    async with open_sqlite(folder) as database, SlackClient(TOKEN, api_url=api_url) as client:
        store, deliveries = Store(database, Silence(), clock), DeliveryStore(database, clock)
        # The former owner of this folder is this test's former child, which was killed.
        await deliveries.release(OWNER)
        gateway = SlackGateway(
            signing_secret=SECRET,
            accept=store.accept_event,
            questions=QuestionDesk(
                question=store.clarification,
                answer=store.answer,
                plan=deliveries.plan,
                slack=client,
                clock=clock,
            ),
            slack=client,
            clock=clock,
            ids=RandomIds(),
        )
        responder = SlackResponder(deliveries, client, content, clock, OWNER, poll_seconds=0.1, file=file)
        async with serve(Starlette(routes=gateway.routes())) as url:
            print(f"listening on {url}", flush=True)  # the parent waits for it
            await responder.run(StopSignal(clock))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
