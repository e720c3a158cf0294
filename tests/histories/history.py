"""A run as it was recorded, and what the engine of today does with it from any point on.

A run that is in flight while the software is upgraded goes on with entries that an older release has written. So the
place of each call, its idempotency key, and every question's key must come out as they did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import JsonValue

from callboard.agents.engine import Answer, Asked, Effect, EffectState, Failed, Handed, HandedResult, Note, Usage, Work
from callboard.agents.engines.human_question import question_rules
from callboard.agents.engines.place import call_digest
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.message_record import of_record, to_record
from callboard.agents.tools.http import HttpTools
from callboard.agents.tools.registry import ToolBinding, ToolRegistry
from callboard.agents.tools.resolver import SystemResolver
from callboard.agents.tools.run_agent import RUN_AGENT, RUN_AGENT_FACTORY
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolSet, ToolTraits
from callboard.clock import ManualClock
from callboard.config.agent_file import load_agent
from callboard.llm.provider import LLMConfig, LLMResponse, Message, ToolCall
from tests.unit.agents.engine_parts import ModelOf, says
from tests.unit.agents.memory_journal import Ledger, MemoryJournal

FOLDER = Path(__file__).parent
ERROR = "Error: "


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`decisions` are (how many entries there were, what was decided); `calls` what tools answered, by digest."""

    about: str
    run_id: str
    agent_file: str
    input: str
    entries: tuple[Message, ...]
    answers: Mapping[str, Mapping[str, Any]]
    handed: Mapping[str, Mapping[str, Any]]
    calls: Mapping[str, Mapping[str, Any]]
    output: JsonValue
    decisions: Sequence[Sequence[Any]] = ()

    @classmethod
    def load(cls, path: Path) -> History:
        record = orjson.loads(path.read_bytes())
        record["entries"] = tuple(of_record(entry) for entry in record["entries"])
        return cls(**record)

    def save(self, path: Path) -> None:
        record = {name: getattr(self, name) for name in self.__slots__}
        record["entries"] = [to_record(entry) for entry in self.entries]
        path.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def waits(self) -> list[str]:
        """The keys of what the run waited for: people's answers and other runs, in their order."""
        return [*self.answers, *self.handed]


@dataclass(eq=False)
class Watched(MemoryJournal):
    """Writes down what the engine asks of its journal."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.ledger = ledger
        self.decisions: list[list[Any]] = []

    def decide(self, what: str) -> None:
        self.decisions.append([len(self.ledger.messages), what])

    async def append(self, messages: Sequence[Message], usage: Usage, notes: Sequence[Note] = ()) -> None:
        self.decide(f"append {' '.join(message.role for message in messages)}")
        await super().append(messages, usage, notes)

    async def begin_effect(self, effect: Effect, *, repeat: bool = False, notes: Sequence[Note] = ()) -> EffectState:
        self.decide(f"begin {_shown(effect)}")
        return await super().begin_effect(effect, repeat=repeat, notes=notes)

    async def finish_effect(
        self, effect: Effect, result: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        self.decide(f"finish {_shown(effect)}")
        await super().finish_effect(effect, result, messages, notes)

    async def fail_effect(
        self, effect: Effect, error: str, messages: Sequence[Message], notes: Sequence[Note] = ()
    ) -> None:
        self.decide(f"fail {_shown(effect)}")
        await super().fail_effect(effect, error, messages, notes)


def _shown(effect: Effect) -> str:
    return f"{effect.key.text} {effect.tool} {effect.arguments_digest[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTool:
    """The tool as it is, but that its calls end as they did."""

    tool: Tool
    history: History
    journal: Watched
    name: str = field(init=False)
    description: str = field(init=False)
    parameters: Mapping[str, JsonValue] = field(init=False)
    idempotent: bool = field(init=False)
    timeout_seconds: float = field(init=False)
    traits: ToolTraits = field(init=False)

    def __post_init__(self) -> None:
        for name in ("name", "description", "parameters", "idempotent", "timeout_seconds", "traits"):
            object.__setattr__(self, name, getattr(self.tool, name))

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        digest = call_digest(ToolCall(id="", name=self.name, arguments=arguments))
        self.journal.decide(f"call {self.name} {digest[:16]} under {context.idempotency_key}")
        recorded = self.history.calls[digest]
        if recorded["failed"]:
            raise ToolError(recorded["text"])
        return str(recorded["text"])


async def played(history: History, begin: int = 0, *, waited_for: int | None = None) -> tuple[Watched, str]:
    """What the engine decides from the first `begin` entries on, with what it waited for the first so many times."""
    journal = Watched(Ledger(messages=list(history.entries[:begin])))
    known = set(history.waits()[:waited_for])
    outcome = await ToolLoopEngine().execute(_work(history, journal, known, begin))
    match outcome:
        case Asked(question=question):
            end = f"asked {question.key}"
        case Handed(children=tasks):
            end = f"handed {' '.join(task.key for task in tasks)}"
        case Failed(code=code):
            end = f"failed {code}"
        case _:
            end = f"{type(outcome).__name__.lower()} {orjson.dumps(getattr(outcome, 'output', None)).decode()}"
    journal.decide(end)
    return journal, end


def _work(history: History, journal: Watched, known: set[str], begin: int) -> Work:
    file = load_agent(history.agent_file.encode(), "agent.yaml")
    assert file.definition is not None, file.problems
    definition = file.definition
    registry = ToolRegistry({**RUN_AGENT_FACTORY, **HttpTools(SystemResolver()).factories()})
    named = [tool for tool in definition.tools if tool.name is not None]
    real = registry.build([ToolBinding(name=str(tool.name), options=tool.with_, settings=tool) for tool in named])
    tools = []
    for spec in real.specs:
        made = real.get(spec.name)
        assert made is not None
        tools.append(made if spec.name == RUN_AGENT else RecordedTool(tool=made, history=history, journal=journal))
    done = sum(entry.role == "assistant" for entry in history.entries[:begin])
    answers = [entry for entry in history.entries if entry.role == "assistant"][done:]
    return Work(
        run_id=history.run_id,
        attempt=1,
        agent=definition.name,
        instructions=definition.instructions,
        config=LLMConfig(provider="scripted", model_id="echo"),
        provider=ModelOf(*[_response(entry) for entry in answers], says(str(history.output))),
        tools=ToolSet(tuple(tools), {str(tool.name): tool for tool in named}),
        input=history.input,
        journal=journal,
        clock=ManualClock(),
        answers={key: Answer(**value) for key, value in history.answers.items() if key in known},
        handed={key: HandedResult(**value) for key, value in history.handed.items() if key in known},
        questions=question_rules(definition.questions),
        agents=frozenset({"helper"}),
        root_run_id=history.run_id,
    )


def _response(entry: Message) -> LLMResponse:
    return says(entry.content, *entry.tool_calls)
