"""Large outputs: kept whole once, shown by their beginning, read on by `read_artifact`."""

from __future__ import annotations

from collections.abc import Iterable

from callboard.agents.engine import Work
from callboard.agents.engines.text_limits import shortened, storable
from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.tool import ToolError
from callboard.llm.provider import Message, ToolCall, ToolSpec

READ_ARTIFACT = "read_artifact"
_MARK = "artifact:"
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml", "application/csv")


def read_artifact_spec() -> ToolSpec:
    """How a model sees it."""
    return ToolSpec(
        name=READ_ARTIFACT,
        description="Read on in a result that was too long to be shown whole, or in another text that was kept. Name "
        "its reference (artifact:…) and the byte to begin at.",
        parameters={
            "type": "object",
            "properties": {
                "reference": {"type": "string", "minLength": 1, "maxLength": 200},
                "offset": {"type": "integer", "minimum": 0},
            },
            "required": ["reference"],
            "additionalProperties": False,
        },
    )


def offers_reading(messages: Iterable[Message]) -> bool:
    """Whether there may be something to read: the tool is offered only then."""
    return any(_MARK in message.content for message in messages)


async def kept(work: Work, tool: str, text: str, max_bytes: int) -> str:
    """The result as the model is shown it: whole, or its beginning with a reference to the whole."""
    data = storable(text).encode()
    if len(data) <= max_bytes:
        return storable(text)
    try:
        reference = await work.artifacts.keep(f"{tool}.txt", "text/plain; charset=utf-8", data)
    except ToolError:
        return shortened(text, max_bytes)
    return f"{_piece(data, 0, max_bytes)}\n{_how_to_go_on(reference, len(data), max_bytes)}"


async def read_artifact(work: Work, call: ToolCall, max_bytes: int) -> str:
    """A piece of what is kept. Raises ToolError."""
    problems = argument_problems(read_artifact_spec().parameters, call.arguments)
    if problems:
        raise ToolError("; ".join(problems))
    reference, offset = str(call.arguments["reference"]), call.arguments.get("offset", 0)
    begin = offset if isinstance(offset, int) else 0
    media_type, body = await work.artifacts.read(reference)
    if not media_type.startswith(_TEXT_TYPES):
        raise ToolError(f"{reference} is {media_type} of {len(body)} bytes, which cannot be read as text")
    if begin >= len(body):
        raise ToolError(f"{reference} has {len(body)} bytes: there is nothing at {begin}")
    piece = _piece(body, begin, max_bytes)
    end = begin + max_bytes
    return piece if end >= len(body) else f"{piece}\n{_how_to_go_on(reference, len(body), end)}"


def _piece(data: bytes, begin: int, size: int) -> str:
    return storable(data[begin : begin + size].decode("utf-8", "ignore"))


def _how_to_go_on(reference: str, size: int, offset: int) -> str:
    return f"[cut: {size} bytes are kept as {reference}; read on with {READ_ARTIFACT}, offset {offset}]"
