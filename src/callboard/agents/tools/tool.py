"""The port to a tool: something an agent may do besides talking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from callboard.config.tool_settings import ToolSettings
from callboard.errors import CallboardError
from callboard.llm.provider import ToolSpec
from callboard.messaging.events import Actor
from callboard.messaging.reply import ReplyTo


class ToolError(CallboardError):
    """The tool did not deliver; the message is told to the model.

    `outcome_unknown`: the call may have had its effect all the same (the connection broke after the request went
    out). A tool that is not idempotent must set it unless it is certain that nothing happened.
    """

    code = "tool_error"

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTraits:
    """What a tool can do to a run, for the rules that hold whatever the model says.

    `reads_untrusted`: strangers may have written what it returns (a web page, a row, another server's answer).
    `sends_out`: its arguments leave this installation, so that it could carry away what the run has read.
    `links`: its results hold addresses as others have written them, and repeat nothing that it was called with.
    `described_by`: the server whose words its description is, None where the words are ours or the operator's.
    `only_reads`: a dry run may really call it; None: that follows from whether it is idempotent and sends nothing out.
    """

    reads_untrusted: bool = False
    sends_out: bool = False
    links: bool = False
    described_by: str | None = None
    only_reads: bool | None = None


class Artifacts(Protocol):
    """Where a call puts what is too large, or no text at all: an image, a table, a whole answer."""

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        """Stores it with the run and returns its reference; the same body of the same run is stored once.

        Raises ToolError where it is larger than an artifact may be.
        """
        ...

    async def read(self, reference: str) -> tuple[str, bytes]:
        """The media type and body of what this run, or another one for the same person's request, has kept.

        Raises ToolError for any other reference.
        """
        ...


class NoArtifacts:
    """Where there is no store to keep them in."""

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        raise ToolError(f"{name} ({len(body)} bytes) cannot be kept here")

    async def read(self, reference: str) -> tuple[str, bytes]:
        raise ToolError(f"there is no artifact {reference!r}")


def _nobody() -> None:
    """For a call that nobody carries out for a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """Whose call this is. `idempotency_key` is the same for every repetition of one call and differs between calls.

    `run_id` is the run that calls, `root_run_id` the one a person asked for. `reply_to` is where the answer will go.
    `seconds_left` is what the engine gives the call.
    `memory_scope` is with whom the run shares what it remembers, None where that is not known. `tainted`: the run has
    read what strangers may have written. A tool says `mark_untrusted` of this one result, beside what its traits say.
    """

    run_id: str
    agent: str
    idempotency_key: str
    artifacts: Artifacts
    tenant: str = "default"
    root_run_id: str = ""
    conversation_id: str | None = None
    actor: Actor | None = None
    reply_to: ReplyTo | None = None
    seconds_left: float | None = None
    memory_scope: str | None = None
    tainted: bool = False
    mark_untrusted: Callable[[], None] = _nobody


class Tool(Protocol):
    """One tool, configured for one agent.

    `idempotent`: repeating a call has no effect beyond the first one's; such a call is repeated without asking
    after a crash. `timeout_seconds` bounds one call; the engine cancels it then. `call` may run concurrently, gets
    arguments that fit `parameters`, returns text for the model, and raises ToolError for what went wrong outside;
    anything else is a defect and fails the attempt.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, JsonValue]: ...

    @property
    def idempotent(self) -> bool: ...

    @property
    def timeout_seconds(self) -> float: ...

    @property
    def traits(self) -> ToolTraits: ...

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str: ...


class ToolSet:
    """The tools that one run may use, each with what the agent file says of it.

    Those in `live` are asked for whenever they are used, so that a change holds from the next model call on; one that
    is gone is as if it had never been listed.
    """

    def __init__(
        self,
        tools: tuple[Tool, ...] = (),
        settings: Mapping[str, ToolSettings] | None = None,
        live: Mapping[str, Callable[[], Tool | None]] | None = None,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._settings = dict(settings or {})
        self._live = dict(live or {})
        self._specs = tuple(_spec(tool) for tool in tools)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told of them now."""
        if not self._live:
            return self._specs
        return (*self._specs, *(_spec(tool) for tool in self._living()))

    @property
    def described_by(self) -> frozenset[str]:
        """The servers whose words describe some of them."""
        tools = (*self._tools.values(), *self._living())
        return frozenset(tool.traits.described_by for tool in tools if tool.traits.described_by is not None)

    def plus(self, more: Sequence[tuple[Tool, ToolSettings]]) -> ToolSet:
        """These and more; of two with one name the first stays."""
        fresh = [(tool, settings) for tool, settings in more if tool.name not in {*self._tools, *self._live}]
        return ToolSet(
            (*self._tools.values(), *(tool for tool, _ in fresh)),
            {**self._settings, **{tool.name: settings for tool, settings in fresh}},
            self._live,
        )

    def settings(self, name: str) -> ToolSettings:
        return self._settings.get(name) or ToolSettings(name=name)

    def get(self, name: str) -> Tool | None:
        """The tool, which stays as it is now until it is asked for again."""
        live = self._live.get(name)
        return self._tools.get(name) if live is None else live()

    def names(self) -> list[str]:
        return sorted([*self._tools, *(tool.name for tool in self._living())])

    def _living(self) -> list[Tool]:
        found = (live() for live in self._live.values())
        return [tool for tool in found if tool is not None]


def _spec(tool: Tool) -> ToolSpec:
    return ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)
