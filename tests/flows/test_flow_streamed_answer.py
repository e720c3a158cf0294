"""An answer that is seen while the model still speaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.support.http_client import no_certificates
from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.wire import Says
from tests.support.slack_world import serve
from tests.support.system import Callboard, callboard_at

SPEAKER = """
name: speaker
agent_type: helper
execution_mode: autonomous
llm_config: {provider: openai, model_id: some-model, base_url: "URL/v1"}
"""


class SlowSpeaker:
    """A model that says the first half of its answer, and the rest when it is allowed to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.url = ""

    async def respond(self, request: Request) -> Response:
        wire = OpenAIWire()
        asked = wire.asked(request.url.path, await request.json())
        assert asked.stream

        async def pieces() -> AsyncIterator[bytes]:
            said = wire.pieces(asked, Says(text="The weather is fine in all of the north."))
            for piece in said[:2]:
                yield piece
            await self.go_on.wait()
            for piece in said[2:]:
                yield piece

        return StreamingResponse(pieces(), media_type="text/event-stream")


@pytest.fixture
async def model() -> AsyncIterator[SlowSpeaker]:
    speaker = SlowSpeaker()
    async with serve(Starlette(routes=[Route("/v1/chat/completions", speaker.respond, methods=["POST"])])) as url:
        speaker.url = url
        yield speaker


@pytest.fixture
async def callboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callboard]:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-nobody")
    async with callboard_at(tmp_path) as running:
        yield running


async def _events(answer: httpx2.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def test_flow_streamed_answer_is_seen_before_it_is_whole(callboard: Callboard, model: SlowSpeaker) -> None:
    await callboard.write("speaker", SPEAKER.replace("URL", model.url))
    task = await callboard.invoke("speaker", "How is the weather?")
    client = httpx2.AsyncClient(base_url=callboard.url, trust_env=False, verify=no_certificates(), timeout=20.0)
    text = ""
    async with client as http, http.stream("GET", f"/api/v1/runs/{task}/events") as answer:
        async for name, data in _events(answer):
            if name == "text":
                text += data["data"]["text"]
                if not model.go_on.is_set():
                    assert text == "The weather is fine in all of the north."[: len(text)]
                    model.go_on.set()
            if name == "end":
                assert data["output"] == "The weather is fine in all of the north."
    assert text == "The weather is fine in all of the north."
