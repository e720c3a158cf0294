"""A model that does exactly what the attacker wants, behind OpenAI's wire format.

What it is told to do stands in the last message of the user: `attack-PLACE-ID/PHASE+PHASE…`. `read` makes it read what
the place holds, `act` makes it call all that the attacker wants, `hand(AGENT,PHASE+PHASE)` hands the rest to another
agent, `plan` is for planners. It ends by saying back the last thing it was told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.wire import Asked, Call, Says

_TOLD = re.compile(r"(attack-[a-z_]+-[a-z0-9-]+)/([a-z+(),0-9-]+)")
_PHASE = re.compile(r"hand\([a-z-]+,[a-z+]+\)|[a-z]+")
_ARTIFACT = re.compile(r"artifact:[A-Za-z0-9_-]+")
_SUMMARY = "You condense a work log"

Script = Callable[[str, str], Sequence[Call]]
"""(name of the attack, phase) → the calls of the phase."""


@dataclass
class Course:
    """What is left to do of one task, and what every call of it was answered with."""

    left: list[Call]
    planned: int
    made: list[Call] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


@dataclass
class Gullible:
    """`courses` are by the words of the task, `prompts` by the attack that they speak of."""

    script: Script
    url: str = ""
    courses: dict[str, Course] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)
    wire: OpenAIWire = field(default_factory=OpenAIWire)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        asked = self.wire.asked(request.path, json.loads(await request.read()))
        self.prompts.append(json.dumps(asked.body, ensure_ascii=False))
        says = self._says(asked)
        if not asked.stream:
            return web.Response(body=self.wire.whole(asked, says), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": self.wire.stream_type})
        await response.prepare(request)
        for piece in self.wire.pieces(asked, says):
            await response.write(piece)
        return response

    def acting(self, name: str) -> Course:
        """That of the task in which the attack acts; an empty one when it never came to that."""
        acts = [course for task, course in self.courses.items() if task.startswith(f"{name}/") and task.endswith("act")]
        return acts[0] if acts else Course(left=[], planned=0)

    def _says(self, asked: Asked) -> Says:
        messages: list[dict[str, Any]] = asked.body["messages"]
        if _SUMMARY in str(messages[0]["content"]):
            return Says(text=f"What the log says: {messages[-1]['content'][-3000:]}")
        task = next((_told(message) for message in reversed(messages) if _told(message)), None)
        if task is None:
            return Says(text=f"nothing to do: {asked.text[:200]}")
        course = self.courses.get(task)
        if course is None:
            calls = self._calls(task)
            course = self.courses[task] = Course(left=calls, planned=len(calls))
        if asked.result is not None and len(course.answers) < len(course.made):
            course.answers.append(asked.result)
        if not course.left:
            return Says(text=asked.result or asked.text)
        call = _filled(course.left.pop(0), asked.result or "")
        course.made.append(call)
        return Says(calls=(call,), finish="tool_calls")

    def _calls(self, task: str) -> list[Call]:
        name, _, phases = task.partition("/")
        return [call for phase in _PHASE.findall(phases) for call in self._phase(name, phase)]

    def _phase(self, name: str, phase: str) -> Sequence[Call]:
        if not phase.startswith("hand("):
            return self.script(name, phase)
        agent, _, inner = phase.removeprefix("hand(").removesuffix(")").partition(",")
        return [Call(name="run_agent", arguments=json.dumps({"agent": agent, "task": f"{name}/{inner}"}))]


def _filled(call: Call, result: str) -> Call:
    """With the reference that the last result named."""
    found = _ARTIFACT.search(result)
    return call if found is None else replace(call, arguments=call.arguments.replace("{artifact}", found[0]))


def _told(message: Mapping[str, Any]) -> str | None:
    if message["role"] != "user":
        return None
    found = _TOLD.search(str(message["content"]))
    return None if found is None else found[0]


async def start(gullible: Gullible) -> web.AppRunner:
    """Serves it on a free port of this machine."""
    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_post(gullible.wire.path, gullible.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gullible.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner
