"""`run_python`: arithmetic, text and data work that a model would rather write than guess."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.sandbox import PythonSandbox, SandboxResult, why_no_sandbox
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.agents.tools.tool_options import read_options
from callboard.errors import InvalidInputError

MAX_CODE_CHARS = 50_000
MAX_INPUT_BYTES = 1024 * 1024
_MONTY = "callboard.agents.tools.run_python_monty:run"
_MIB = 1024 * 1024
_GRACE_SECONDS = 5.0


class RunPythonOptions(BaseModel):
    """`monty` is a subset of Python without libraries, everywhere; `cpython` the full one in bubblewrap, on hosts that
    have it. `memory_mb` is for one process of the code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["monty", "cpython"] = "monty"
    timeout_seconds: float = Field(default=10.0, gt=0, le=120)
    memory_mb: int = Field(default=128, ge=32, le=1024)
    max_output_bytes: int = Field(default=64 * 1024, ge=1000, le=256 * 1024)


class PythonTools:
    """Makes the tool for any agent; all agents together share the few children and sandboxes there may be at once."""

    def __init__(self, runner: ChildRunner) -> None:
        self._monty = _Monty(runner)
        self._sandbox = PythonSandbox()

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"run_python": self._make}

    def _make(self, options: ToolOptions) -> Tool:
        chosen = read_options("run_python", RunPythonOptions, options)
        missing = why_no_sandbox() if chosen.engine == "cpython" else None
        if missing is not None:
            raise InvalidInputError(f"run_python, with.engine: cpython: {missing}", field="with.engine")
        return RunPython(self._monty if chosen.engine == "monty" else self._sandbox, chosen)


class Interpreter(Protocol):
    """Runs code that nobody has looked at.

    Ends soon after `seconds` whatever the code does, and leaves nothing behind: no process, no file, no variable that
    a later run would find. Raises ToolError where it cannot run anything at all.
    """

    async def run(
        self, code: str, inputs: Mapping[str, JsonValue], *, seconds: float, memory_bytes: int, max_output_bytes: int
    ) -> SandboxResult:
        """What the code came to, an error of its own or one of these limits included. `inputs` are its variables."""
        ...


class RunPython:
    """One interpreter with its limits. Nothing that the code does lasts, so a call may be repeated."""

    name = "run_python"
    idempotent = True
    traits = ToolTraits()

    def __init__(self, interpreter: Interpreter, options: RunPythonOptions) -> None:
        self._interpreter = interpreter
        self._options = options
        self.timeout_seconds = options.timeout_seconds + _GRACE_SECONDS
        self.description = _DESCRIPTIONS[options.engine]
        self.parameters: Mapping[str, JsonValue] = _PARAMETERS

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        del context
        inputs = arguments.get("inputs")
        given = inputs if isinstance(inputs, Mapping) else {}
        _check_inputs(given)
        result = await self._interpreter.run(
            str(arguments["code"]),
            given,
            seconds=self._options.timeout_seconds,
            memory_bytes=self._options.memory_mb * _MIB,
            max_output_bytes=self._options.max_output_bytes,
        )
        text = _as_text(result)
        if result.error is not None:
            raise ToolError(text)
        return text


class _Monty:
    """`Interpreter` in a child process that can be killed."""

    def __init__(self, runner: ChildRunner) -> None:
        self._runner = runner

    async def run(
        self, code: str, inputs: Mapping[str, JsonValue], *, seconds: float, memory_bytes: int, max_output_bytes: int
    ) -> SandboxResult:
        order: dict[str, JsonValue] = {
            "code": code,
            "inputs": dict(inputs),
            "seconds": seconds,
            "memory_bytes": memory_bytes,
            "max_output_bytes": max_output_bytes,
        }
        try:
            answer = json.loads(await self._runner.run(_MONTY, order, cpu_seconds=int(seconds) + 3))
        except ToolError as error:
            raise ToolError(f"the interpreter was ended: {error.message[:300]}") from None
        return SandboxResult(printed=answer["printed"], value=answer["value"], error=answer["error"])


def _check_inputs(inputs: Mapping[str, JsonValue]) -> None:
    wrong = next((name for name in inputs if not name.isidentifier() or name.startswith("__")), None)
    if wrong is not None:
        raise ToolError(f"inputs.{wrong[:80]} is no name of a variable")
    size = len(json.dumps(dict(inputs)))
    if size > MAX_INPUT_BYTES:
        raise ToolError(f"inputs have {size} bytes; the limit is {MAX_INPUT_BYTES}")


def _as_text(result: SandboxResult) -> str:
    parts = [result.printed.rstrip("\n")] if result.printed else []
    if result.value is not None:
        parts.append(f"value: {result.value}")
    if result.error is not None:
        parts.append(result.error)
    return "\n".join(parts) or "[nothing was printed, and the last statement has no value]"


_DESCRIPTIONS = {
    "monty": (
        "Run Python code for calculations, dates, text and data. The answer is what it prints and the value of its "
        "last expression. A subset of Python: functions, classes, comprehensions, json, math, re, datetime, random, "
        "itertools, functools, collections, decimal; no other library, no generators, no files, no network. Every "
        "call begins anew."
    ),
    "cpython": (
        "Run Python code with its standard library for calculations, text and data. The answer is what it prints and "
        "the value of its last expression. No network; only /tmp can be written, and nothing is kept: every call "
        "begins anew."
    ),
}
_PARAMETERS: Mapping[str, JsonValue] = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "minLength": 1, "maxLength": MAX_CODE_CHARS, "description": "The program"},
        "inputs": {
            "type": "object",
            "description": "Data for the code: each name is a variable there. Better than writing data into the code",
        },
    },
    "required": ["code"],
    "additionalProperties": False,
}
