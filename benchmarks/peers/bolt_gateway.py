# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
"""slack-bolt on FastAPI: a slash command is published with a confirm (aio-pika, persistent, quorum queue), then acked.

AsyncApp and its FastAPI adapter as bolt's guide shows, one uvicorn process with uvloop and httptools, no access log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import uvicorn
from fastapi import FastAPI, Request
from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

COMMAND = "/echo-0"


def application(*, amqp_url: str, queue: str, slack_url: str, secret: str) -> FastAPI:
    bolt = AsyncApp(client=AsyncWebClient(token="xoxb-benchmark", base_url=slack_url), signing_secret=secret)  # noqa: S106
    exchanges: list[Any] = []

    @bolt.command(COMMAND)
    async def taken(ack: Any, body: dict[str, Any]) -> None:
        message = aio_pika.Message(json.dumps(body).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchanges[0].publish(message, routing_key=queue)
        await ack()

    @contextlib.asynccontextmanager
    async def connected(_: FastAPI) -> AsyncIterator[None]:
        async with await aio_pika.connect_robust(amqp_url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
            exchanges.append(channel.default_exchange)
            yield
            await channel.queue_delete(queue)

    api = FastAPI(lifespan=connected)
    handler = AsyncSlackRequestHandler(bolt)

    @api.post("/slack/commands")
    async def endpoint(request: Request) -> Any:
        return await handler.handle(request)

    return api


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    port = int(given.pop("port"))
    logging.disable(logging.WARNING)
    uvicorn.run(application(**given), host="127.0.0.1", port=port, access_log=False, log_level="error")
