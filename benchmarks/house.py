"""The system under measurement: every role in this process, over folders of its own, with scripted agents."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from callboard.bootstrap.system import System, embedded
from callboard.bootstrap.tuning import Tuning
from callboard.ids import derive_id
from callboard.logs import LogSettings, Redactor, configure
from callboard.messaging.delivery import Delivery, Queue
from callboard.messaging.events import Actor, Event, EventType
from callboard.messaging.topology import api_invoke
from callboard.settings import Settings
from callboard.state.accepting import EventDraft

ECHO = """\
name: {name}
agent_type: benchmark
execution_mode: {mode}
llm_config: {{provider: scripted, model_id: echo}}
slack: {{commands: [/{name}]}}
"""


def write_agents(folder: Path, count: int, *, mode: str = "autonomous", prefix: str = "echo") -> list[str]:
    """Files of agents that answer with what they are told; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        (folder / f"{name}.yaml").write_text(ECHO.format(name=name, mode=mode))
    return names


@contextlib.asynccontextmanager
async def running(
    folder: Path, agents: int = 1, *, environment: Mapping[str, str] | None = None, tuning: Tuning | None = None
) -> AsyncIterator[System]:
    """The whole embedded system, logging as it does in production, into a file and a stream nobody reads.

    Agents that are written already are there besides; `environment` holds more of what users can set.
    """
    write_agents(folder / "agents", agents)
    given = {
        "CALLBOARD_AGENTS": folder / "agents",
        "CALLBOARD_DATA": folder / "data",
        "CALLBOARD_LOGS": folder / "logs",
        "CALLBOARD_PORT": 0,
        **(environment or {}),
    }
    settings = Settings(**given)  # type: ignore[arg-type]  # as the environment has them
    redactor = Redactor()
    with configure(LogSettings(folder=settings.log_folder), stream=io.StringIO(), redactor=redactor):
        async with embedded(settings, redactor=redactor, tuning=tuning) as system:
            system.supervisor.start()
            await system.desk.server.ready.wait()
            gc.freeze()  # as `callboard up` does
            try:
                yield system
            finally:
                gc.unfreeze()
                await system.supervisor.stop("measured")


class Requests:
    """Gives agents something to do and knows when its result is stored."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._open: dict[str, asyncio.Future[None]] = {}
        system.core.bus.subscribe(Queue(name="benchmark", patterns=("run.succeeded.#",)), self._ended)

    async def one(self, agent: str, text: str = "hello") -> float:
        """Seconds from handing the request to the store until its result is stored."""
        core = self._system.core
        event = Event(
            event_id=core.ids.new(),
            event_type=EventType.API_INVOKE,
            topic=api_invoke(agent),
            timestamp=core.clock.now(),
            trace_id=core.ids.new(),
            actor=Actor(kind="api", id="benchmark", via="api"),
            payload={"text": text},
        )
        ended = asyncio.get_running_loop().create_future()
        self._open[derive_id("run", event.event_id, agent)] = ended
        began = core.clock.monotonic()
        await core.store.accept_event(EventDraft(event=event, dedupe_keys=(f"benchmark:{event.event_id}",)))
        await ended
        return core.clock.monotonic() - began

    async def many(self, agent: str, count: int, in_flight: int, text: str = "hello") -> list[float]:
        """The seconds of each of `count` requests, `in_flight` of them at a time."""
        took: list[float] = []

        async def client(share: int) -> None:
            took.extend([await self.one(agent, text) for _ in range(share)])

        await asyncio.gather(*(client(count // in_flight) for _ in range(in_flight)))
        return took

    async def _ended(self, delivery: Delivery) -> None:
        self._open.pop(delivery.event.payload["run_id"]).set_result(None)
