"""Results too large for a model: kept whole once, shown by their beginning, read on by their reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import JsonValue

from callboard.agents.engine import Asked, Succeeded, WorkLimits
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.tools.tool import ToolContext, ToolError, ToolTraits
from callboard.config.tool_settings import ToolSettings
from callboard.llm.provider import LLMRequest, LLMResponse, Message
from callboard.redaction import Redactor
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal


@dataclass
class Shelf:
    """Artifacts in memory; the same body is one artifact."""

    kept: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        self.names.append(name)
        reference = f"artifact:{hashlib.sha256(body).hexdigest()[:8]}"
        self.kept[reference] = (media_type, body)
        return reference

    async def read(self, reference: str) -> tuple[str, bytes]:
        if reference not in self.kept:
            raise ToolError(f"there is no artifact {reference!r} of this run")
        return self.kept[reference]


SMALL = ToolSettings.model_validate({"name": "send", "max_result_bytes": 100})


def _read_on(request: LLMRequest) -> LLMResponse:
    """Does what the last result says: reads on where it was cut."""
    said = request.messages[-1].content
    reference = said.split("kept as ")[1].split(";")[0]
    offset = int(said.rsplit("offset ", 1)[1].rstrip("]"))
    assert "read_artifact" in [tool.name for tool in request.tools]
    return calls("read_artifact", reference=reference, offset=offset)


async def _run(model: ModelOf, tool: Counter, shelf: Shelf, **more: Any) -> tuple[Any, Ledger]:
    ledger = Ledger()
    outcome = await ToolLoopEngine().execute(
        work(MemoryJournal(ledger), model, tools=[tool], settings=[SMALL], artifacts=shelf, **more)
    )
    return outcome, ledger


async def test_a_large_result_is_read_piece_by_piece_to_its_end() -> None:
    whole = "".join(chr(ord("a") + number % 26) for number in range(250))
    shelf, tool = Shelf(), Counter(result=whole)
    model = ModelOf(calls("send", text="a"), _read_on, _read_on, says("done"))
    outcome, ledger = await _run(model, tool, shelf, limits=WorkLimits(max_result_bytes=100))
    assert isinstance(outcome, Succeeded)
    pieces = [message.content.split("\n[cut")[0] for message in ledger.messages if message.role == "tool"]
    assert "".join(pieces) == whole
    assert [body for _, body in shelf.kept.values()] == [whole.encode()]
    assert len(tool.calls) == 1


async def test_reading_is_offered_only_when_there_is_something_to_read() -> None:
    model = ModelOf(says("done"))
    await _run(model, Counter(), Shelf())
    assert [tool.name for tool in model.requests[0].tools] == ["send", "ask_human"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"reference": "artifact:other"}, "there is no artifact"),
        ({"reference": "artifact:image"}, "image/png of 3 bytes, which cannot be read as text"),
        ({"reference": "artifact:text", "offset": 9}, "there is nothing at 9"),
        ({"offset": 0}, "arguments.reference is missing"),
        ({"reference": "artifact:text", "offset": "x"}, "must be of type integer"),
    ],
)
async def test_what_cannot_be_read_is_told(arguments: dict[str, Any], why: str) -> None:
    shelf = Shelf({"artifact:image": ("image/png", b"png"), "artifact:text": ("text/plain", b"text")})
    model = ModelOf(calls("read_artifact", **arguments), says("done"))
    outcome, ledger = await _run(model, Counter(), shelf, input="look at artifact:text")
    assert isinstance(outcome, Succeeded)
    (told,) = [message for message in ledger.messages if message.role == "tool"]
    assert told.is_error
    assert why in told.content


async def test_H2_what_is_read_on_is_as_little_trusted_as_its_beginning() -> None:
    page = Counter(name="page", idempotent=True, result="x" * 300, traits=ToolTraits(reads_untrusted=True))
    send = Counter(traits=ToolTraits(sends_out=True))
    small = SMALL.model_copy(update={"name": "page"})
    model = ModelOf(calls("page", text="a"), _read_on, calls("send", text="b"))
    ledger = Ledger()
    outcome = await ToolLoopEngine().execute(
        work(MemoryJournal(ledger), model, tools=[page, send], settings=[small], artifacts=Shelf())
    )
    assert isinstance(outcome, Asked)
    assert all(message.untrusted for message in ledger.messages if message.role == "tool")


async def test_a_persons_answer_by_a_form_is_asked_for_with_its_schema() -> None:
    schema: JsonValue = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    asks = calls("ask_human", question="Where to?", schema=schema)
    ledger = Ledger()
    asked = await ToolLoopEngine().execute(work(MemoryJournal(ledger), ModelOf(asks)))
    assert isinstance(asked, Asked)
    assert (asked.question.kind, asked.question.schema) == ("input", schema)
    answers: dict[str, JsonValue] = {asked.question.key: {"city": "Ulm"}}
    await ToolLoopEngine().execute(work(MemoryJournal(ledger), ModelOf(says("ok")), answers=answers))
    assert ledger.messages[-1] == Message(role="tool", content='{"city": "Ulm"}', tool_call_id="c1")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"schema": {"type": "array"}}, "the schema is not of an object"),
        ({"schema": {"type": "nonsense"}}, "cannot be used"),
        ({"schema": {"type": "object"}, "kind": "confirmation"}, "belongs to kind input"),
    ],
)
async def test_a_form_that_makes_no_sense_is_told(more: dict[str, Any], why: str) -> None:
    model = ModelOf(calls("ask_human", question="?", **more), says("ok"))
    await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model))
    assert why in model.requests[1].messages[-1].content


@dataclass
class Keeper(Counter):
    """A tool that keeps what it was told."""

    bodies: tuple[bytes, ...] = ()

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        for body in self.bodies:
            await context.artifacts.keep("the word s3cret.bin", "application/octet-stream", body)
        return "kept"


async def test_H6_what_a_tool_keeps_holds_no_secret_and_no_other_byte_is_changed() -> None:
    shelf = Shelf()
    binary = b"\x89PNG\xff s3cret"
    tool = Keeper(bodies=("ä s3cret".encode(), binary, b"plain"))
    model = ModelOf(calls("send", text="x"), says("done"))
    redact = Redactor(["s3cret"]).redact
    await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, tools=[tool], artifacts=shelf, redact=redact))
    assert [body for _, body in shelf.kept.values()] == ["ä [redacted]".encode(), binary, b"plain"]
    assert shelf.names == ["the word [redacted].bin"] * 3
