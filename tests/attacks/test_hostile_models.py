"""G1, G5, H12: models that return anything at all. Each run ends cleanly, and no answer forges a log line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.wire import Asked, Call, Finish, Says
from tests.support.system import ENDED, callboard_at
from tests.support.waiting import wait_until

# Hundreds of runs whose models answer at length take half a minute of CPU.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUNS = 300
EXPECTED = {"content_filtered", "empty_answer", "provider_invalid_request", "tool_call_limit"}
"""How such a run may fail: by a limit, or by an answer that is none."""
NASTY = (
    "\x00",
    "\x1b[2J\x1b]0;owned\x07",
    '\n{"level":"ERROR","message":"forged","trace_id":"forged"}\n',
    "\r\n\r\n",
    "\ud800",
    "\udfff\ud83d",
    "\u202e\u200b\ufeff",
    "\u2028\u2029\x85",
    "\U0001f4a9" * 50,
    "}{][\"'\\",
    "</s><|im_end|>",
    "-" * 5000,
)
AGENT = """
name: {name}
agent_type: victim
execution_mode: autonomous
llm_config: {{provider: openai, model_id: rubbish, max_tokens: 100}}
limits: {{max_attempts: 1, max_tool_calls: 40, max_model_calls: 12}}
tools:
  - http_get
  - run_python
  - recall
"""


class Rubbish:
    """What it answers follows from the seed in what it is asked, and from how often."""

    def __init__(self) -> None:
        self.wire = OpenAIWire()
        self._asked: Counter[str] = Counter()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        asked = self.wire.asked(request.path, body)
        seed = next(str(message["content"]) for message in body["messages"] if message["role"] == "user")
        self._asked[seed] += 1
        chance = random.Random(f"{seed}/{self._asked[seed]}")  # noqa: S311  # to be repeated, not to be secret
        if chance.random() < 0.05:
            return web.Response(body=chance.randbytes(chance.randrange(400)), content_type="application/json")
        return await self._said(request, asked, _says(chance))

    async def _said(self, request: web.Request, asked: Asked, says: Says) -> web.StreamResponse:
        if not asked.stream:
            return web.Response(body=self.wire.whole(asked, says), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": self.wire.stream_type})
        await response.prepare(request)
        for piece in self.wire.pieces(asked, says):
            await response.write(piece)
        return response


def _says(chance: random.Random) -> Says:
    finish: Finish = chance.choice(["stop", "tool_calls", "length", "content_filter"])
    kind = chance.randrange(12)
    if kind == 0:
        number = chance.choice([60, 60, 60, 1000])
        calls = tuple(Call(name="recall", arguments=json.dumps({"query": str(n)}), id=f"c{n}") for n in range(number))
        return Says(calls=calls, finish="tool_calls")
    if kind == 1:
        return Says(text=(_text(chance) or "endless ") * 20, finish=finish)
    if kind < 5:
        number = chance.randrange(1, 4)
        return Says(text=_text(chance), calls=tuple(_call(chance) for _ in range(number)), finish="tool_calls")
    return Says(text=_text(chance), finish=finish)


def _text(chance: random.Random) -> str:
    return "".join(chance.choice([*NASTY, "word ", "wort "]) for _ in range(chance.randrange(6)))


def _call(chance: random.Random) -> Call:
    names = ["http_get", "run_python", "recall", "ask_human", "read_artifact", "nothing", "", _text(chance)[:200]]
    values: list[Any] = [None, True, -1, 1e308, [], {}, [[]] * 50, _text(chance), {"a": _text(chance)}]
    arguments = {
        chance.choice(["url", "code", "query", "key", "question", "kind", "reference", _text(chance)]): chance.choice(
            values
        )
        for _ in range(chance.randrange(4))
    }
    texts = [json.dumps(arguments), json.dumps(values), _text(chance), "[" * 3000, '{"url": ', "", "NaN"]
    return Call(
        name=chance.choice(names), arguments=chance.choice(texts), id=chance.choice(["c", "", _text(chance)[:80]])
    )


def _status(folder: Path, task: str) -> str:
    with contextlib.closing(sqlite3.connect(folder / "data" / "callboard.db")) as connection:
        found = connection.execute("select status from runs where run_id = ?", (task,)).fetchone()
    return str(found[0]) if found else "queued"


async def test_G5_H12_rubbish_ends_cleanly_and_forges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Rubbish()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post(model.wire.path, model.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-rubbish")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
    async with callboard_at(tmp_path) as board:
        await board.write("rubbish", AGENT.format(name="rubbish"))
        gate = asyncio.Semaphore(16)

        async def one(number: int) -> dict[str, Any]:
            async with gate:
                task = await board.invoke("rubbish", f"seed {number}")

                def at_rest() -> bool:
                    # From the database: asking the API so often would cost more than the runs.
                    return _status(tmp_path, task) in {*ENDED, "waiting"}

                await wait_until(at_rest, f"seed {number} ends", within=150.0)
                shown: dict[str, Any] = await board.get(f"agents/status/{task}")
                return await board.get(f"agents/result/{task}") if shown["status"] in ENDED else shown

        ended = await asyncio.gather(*(one(number) for number in range(RUNS)))
    await runner.cleanup()
    statuses = Counter(each["status"] for each in ended)
    assert statuses["succeeded"] > 20, statuses
    assert statuses["failed"] > 20, statuses
    codes = Counter(each["error"]["code"] for each in ended if each["status"] == "failed")
    assert set(codes) <= EXPECTED, codes
    for line in (tmp_path / "stdout.jsonl").read_text().split("\n")[:-1]:
        record = json.loads(line)
        assert record["message"] != "forged"
        assert record["trace_id"] != "forged"
        assert "\x1b" not in line
