"""The port to a language model: what is asked, what comes back, and what every provider promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from pydantic import JsonValue

from callboard.llm.script import ScriptRule

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model wants a tool to be called. `id` is the provider's, unique within its message only.

    `malformed` holds the model's own text where that was not a JSON object; `arguments` is empty then.
    """

    id: str
    name: str
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    malformed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation. A `tool` message answers the call `tool_call_id` of the assistant message before.

    `is_error` marks a tool message that reports a failure instead of a result, `untrusted` one whose text strangers may
    have written (an adapter shows it to its model by `untrusted_text.shown`). `stands_for` is set on a
    summary: the part of a run's messages before it that it replaces.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    untrusted: bool = False
    stands_for: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is the JSON Schema of one object."""

    name: str
    description: str
    parameters: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMConfig:
    """Which model, and how it is asked. `script` belongs to the scripted provider and is empty for all others.

    `base_url` is the server to ask instead of the provider's own; it may hold `${env:NAME}`, which is filled in when it
    is used. A call that has not ended after `timeout_seconds` is given up. `fallback` holds the configurations to try,
    in order, when this one cannot be reached.
    """

    provider: str
    model_id: str
    temperature: float | None = None
    max_tokens: int = 1024
    base_url: str | None = None
    timeout_seconds: float = 120.0
    script: tuple[ScriptRule, ...] = ()
    fallback: tuple[LLMConfig, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMember:
    """An agent that a step of a plan can be given to, as the planner may know it."""

    name: str
    description: str = ""
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a plan is wanted for, beside the same told in words in the messages."""

    goal: str
    members: tuple[PlanMember, ...]
    max_steps: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """One model call: the whole conversation, oldest first, and the tools on offer.

    `turn` counts the user messages of the conversation, the last one included. With `plan` the answer's content is
    wanted as the JSON `{"steps": [{"id", "agent", "input", "depends_on": [ID, …]}, …]}`; a provider that has a mode
    for JSON output turns it on, any other relies on the messages, which ask for it in words. The same holds for
    `output_schema`, the JSON Schema of the object that the answer's content is to be: a hint, never a promise.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    turn: int = 1
    plan: PlanRequest | None = None
    output_schema: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A model that was asked in vain before another one answered: the error's code and words, and how many seconds
    before that answer it failed."""

    model: str
    code: str
    reason: str
    seconds_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMResponse:
    """A complete answer. `model` is what really answered; tokens are as billed, those read from a cache included;
    `cost_usd` is None if not known. `metadata` says `usage: estimated` where the server named no tokens. `passed_over`
    are the models that were asked before this one, in their order."""

    content: str
    model: str
    input_tokens: int
    output_tokens: int
    finish_reason: FinishReason
    cost_usd: float | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tool_calls: tuple[ToolCall, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMChunk:
    """A piece of a streamed answer: some `text`, or, in the last chunk alone, the whole `response`."""

    text: str = ""
    response: LLMResponse | None = None


class LLMProvider(Protocol):
    """One configured model.

    - Safe to call concurrently; a call may be repeated, each is billed. No call changes another's answer.
    - Never retries by itself: it raises, its caller decides (DESIGN.md, rule 10).
    - Raises only LLMProviderError and its subclasses for what the provider did; anything else is a defect.
    - Every call ends within the adapter's own time limit, which it reports as LLMServiceUnavailableError.
    - An answer cut off by the network is an error, never a shorter answer (RELIABILITY.md, finding 17); one that
      reached `max_tokens` is an answer with the finish reason `length`.
    - Cancelling the task that waits ends the call.
    """

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """The whole answer."""
        ...

    def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """The answer in pieces: their `text` joined is the content of the `response` in the last one.

        Raises what `complete` raises, possibly after some pieces. A caller that stops early closes the iterator.
        """
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """What the provider says that these messages take, else the estimate; never raises an LLMProviderError."""
        ...

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        """A guess from above for deciding before each call, without any I/O; what is billed stands in the response."""
        ...

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """US dollars for that many tokens of this model, None when its price is not known."""
        ...

    async def close(self) -> None:
        """Lets go of connections; a second call does nothing."""
        ...
