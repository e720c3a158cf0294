"""Records the histories beside it from runs of a real system: `python -m tests.histories.record`.

To be done once for a new history. Recording an old one anew hides the very difference that it is there to show.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from callboard.agents.message_record import of_record
from callboard.agents.recording import calls_made
from callboard.state.clarifications import Clarification
from callboard.state.replay_store import ReplayStore
from callboard.state.sql.answering import answers_of
from callboard.state.sql.sqlite import SqliteDatabase
from tests.histories.history import FOLDER, History, played
from tests.support.system import Callboard, callboard_at
from tests.support.tool_server import tool_server
from tests.support.waiting import wait_until

AGENT = """\
name: {name}
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {rule}
tools:
  - {tool}
"""
POST = '{call: {tool: http_post, args: {url: "URL/calls", body: "{input}"}}, say: "It said: {result}"}'
READ = '{call: {tool: http_get, args: {url: "URL/PAGE"}}, say: "Read: {result}"}'
CITY = '{ask: {question: "Which city?", options: [Berlin, Paris]}, call: {tool: http_post, args: {url: "URL/calls", body: "{answer}"}}, say: "{result}"}'  # noqa: E501
HAND = '{call: {tool: run_agent, args: {agent: helper, task: "count"}}, say: "It says {result}"}'

HISTORIES: dict[str, tuple[str, str, str, list[Any]]] = {
    "a-call-that-is-made": ("Posts at once.", POST, "http_post", []),
    "a-call-with-changed-arguments": (
        "A person approves the call with other arguments.",
        POST,
        "{name: http_post, approval: ask}",
        [{"approved": True, "arguments": {"url": "URL/calls", "body": "edited"}}],
    ),
    "a-call-that-is-rejected": (
        "A person rejects the call with a reason.",
        POST,
        "{name: http_post, approval: ask}",
        [{"approved": False, "reason": "not on a Saturday"}],
    ),
    "a-question-and-a-call": ("Asks for a city and posts it.", CITY, "http_post", ["Paris"]),
    "a-call-that-fails": ("Reads a page that is not there.", READ.replace("PAGE", "nowhere"), "http_get", []),
    "a-task-that-is-handed-on": (
        "Hands a task to another agent.",
        HAND,
        "{name: run_agent, with: {agents: [helper]}}",
        [],
    ),
}


async def record(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with tool_server() as world:
            os.environ["CALLBOARD_HTTP_ALLOW"] = world.authority
            async with callboard_at(Path(folder)) as callboard:
                await callboard.write("helper", AGENT.format(name="helper", rule='{say: "42"}', tool="http_get"))
                done = {name: await _run(callboard, name, world.url) for name in names}
        database = SqliteDatabase(Path(folder, "data", "callboard.db"))
        await database.start()
        for name, (task, text) in done.items():
            questions = await database.read(partial(answers_of, run_id=task["run_id"]))
            await _save(name, task, text, questions, ReplayStore(database))
        await database.close()


async def _run(callboard: Callboard, name: str, url: str) -> tuple[dict[str, Any], str]:
    _, rule, tool, answers = HISTORIES[name]
    text = AGENT.replace("{name}", name).replace("{rule}", rule).replace("{tool}", tool).replace("URL", url)
    await callboard.write(name, text)
    task = await callboard.invoke(name, "hello")
    for answer in answers:

        async def asked() -> Any:
            return (await callboard.get("clarifications", status="asked"))["clarifications"]

        question = (await wait_until(asked, "somebody is asked"))[0]
        said = orjson.loads(orjson.dumps(answer).replace(b"URL", url.encode()))
        await callboard.post(f"clarifications/{question['clarification_id']}/answer", answer=said)
    await callboard.ended(task)
    return await callboard.get(f"runs/{task}"), text


async def _save(
    name: str, run: dict[str, Any], text: str, questions: Sequence[Clarification], store: ReplayStore
) -> None:
    run_id = run["run_id"]
    family = await store.family(run_id)
    whole = next(found for found in family if found.run.run_id == run_id)
    entries = tuple(of_record(entry) for entry in await store.entries(run_id, 0))
    ledger = {effect.key: effect for effect in await store.effects(run_id, 0)}
    made = calls_made(entries, ledger, (), run_id=run_id, step="")
    history = History(
        about=HISTORIES[name][0],
        run_id=run_id,
        agent_file=text,
        input="hello",
        entries=entries,
        answers={
            asked.key.partition(":")[2]: {"value": asked.answer, "answered_by": asked.answered_by}
            for asked in questions
        },
        handed={
            "/".join(["", *str(found.run.step_id).split("-")[2:]]): {"status": "succeeded", "output": found.output}
            for found in family
            if found.run.run_id != run_id
        },
        calls={call.digest: {"text": call.text, "failed": call.failed} for call in made},
        output=whole.output,
    )
    journal, _ = await played(history)
    replace(history, decisions=journal.decisions).save(FOLDER / f"{name}.json")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(HISTORIES)))
