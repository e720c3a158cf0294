"""A provider over the model layer: one model of one server, asked through the layer's own adapter for its wire format.

Only the layer is used, never its agents: the loop, its checkpoints, retries and limits are ours (docs/decisions/0013).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from pydantic_ai.messages import (
    FinishReason as LayerReason,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from callboard.llm.errors import LLMInvalidRequestError
from callboard.llm.pricing import PriceTable
from callboard.llm.provider import (
    FinishReason,
    LLMChunk,
    LLMConfig,
    LLMRequest,
    LLMResponse,
    Message,
    ToolSpec,
)
from callboard.llm.providers.conversation import calls_of, parameters, text_of, to_model_layer, whole
from callboard.llm.providers.failures import Failures
from callboard.llm.tokens import estimate_text_tokens, estimate_tokens

_REASONS: dict[LayerReason, FinishReason] = {
    "stop": "stop",
    "tool_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}

Effect = Callable[[], Awaitable[None]]

MOST_PARTS = 256
"""Of a streamed answer. The library's work on each piece grows with the parts before it: a thousand calls would keep a
whole process busy for seconds."""


class ModelLayerProvider:
    """Asks `model`; `close` lets go of what it stands on, which other providers may go on using.

    `ready`, where there is one, is awaited before each call and raises an LLMProviderError for a server that cannot be
    asked.
    """

    def __init__(
        self,
        config: LLMConfig,
        model: Model,
        *,
        prices: PriceTable,
        failures: Failures,
        close: Effect,
        ready: Effect | None = None,
    ) -> None:
        self._config = config
        self._model = model
        self._prices = prices
        self._failures = failures
        self._close: Effect | None = close
        self._ready = ready
        self._settings = ModelSettings(max_tokens=config.max_tokens)
        if config.temperature is not None:
            self._settings["temperature"] = config.temperature
        self._native_schema = bool(model.profile.get("supports_json_schema_output", False))
        self._offered: tuple[ToolSpec, ...] = ()
        self._plain = ModelRequestParameters()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        messages, wanted = await self._prepared(request)
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                answer = await self._model.request(messages, self._settings, wanted)
        except Exception as error:  # noqa: BLE001  # whatever a library below raises is told as one of ours
            raise self._failures.told(error) from None
        return self._response(request, answer, text_of(answer))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        messages, wanted = await self._prepared(request)
        pieces: list[str] = []
        async with contextlib.aclosing(self._events(messages, wanted)) as events:
            async for event in events:
                if isinstance(event, ModelResponse):
                    yield LLMChunk(response=self._response(request, event, "".join(pieces)))
                    return
                if isinstance(event, PartStartEvent) and event.index >= MOST_PARTS:
                    raise LLMInvalidRequestError(f"the model's answer was cut off: it has over {MOST_PARTS} parts")
                piece = whole(_text_in(event))
                if piece:
                    pieces.append(piece)
                    yield LLMChunk(text=piece)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return self.estimate_tokens(messages)

    async def counted_by_the_server(self, messages: Sequence[Message], *, within_seconds: float) -> int:
        """For servers that can count; raises what the model layer raises."""
        async with asyncio.timeout(within_seconds):
            usage = await self._model.count_tokens(to_model_layer(messages), self._settings, ModelRequestParameters())
        return usage.input_tokens

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return estimate_tokens(messages, tools)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return self._prices.cost(
            self._config.provider, self._config.model_id, input_tokens=input_tokens, output_tokens=output_tokens
        )

    async def close(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            await close()

    async def _events(
        self, messages: list[ModelMessage], wanted: ModelRequestParameters
    ) -> AsyncGenerator[ModelResponseStreamEvent | ModelResponse, None]:
        """What comes in, and last the whole answer. The time limit runs only while the server is waited for."""
        deadline = asyncio.get_running_loop().time() + self._config.timeout_seconds
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline):
                    streamed = await stack.enter_async_context(
                        self._model.request_stream(messages, self._settings, wanted)
                    )
                events = aiter(streamed)
            except Exception as error:  # noqa: BLE001  # as above
                raise self._failures.told(error) from None
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events)
                except StopAsyncIteration:
                    break
                except Exception as error:  # noqa: BLE001  # as above
                    raise self._failures.told(error) from None
                yield event
            yield streamed.get()

    async def _prepared(self, request: LLMRequest) -> tuple[list[ModelMessage], ModelRequestParameters]:
        if self._ready is not None:
            await self._ready()
        return to_model_layer(request.messages), self._parameters(request)

    def _parameters(self, request: LLMRequest) -> ModelRequestParameters:
        """Those without a schema are kept: an agent offers the same tools with every call."""
        if request.output_schema is not None:
            return parameters(request.tools, request, native_schema=self._native_schema)
        if request.tools != self._offered:
            self._plain, self._offered = parameters(request.tools, request, native_schema=False), request.tools
        return self._plain

    def _response(self, request: LLMRequest, answer: ModelResponse, content: str) -> LLMResponse:
        if answer.finish_reason is None:
            raise self._failures.unavailable("its answer broke off without a finish reason")
        reason = _REASONS.get(answer.finish_reason)
        if reason is None:
            raise self._failures.unavailable("it broke its answer off with an error")
        calls = calls_of(answer)
        if calls and reason == "stop":
            reason = "tool_calls"
        elif reason == "tool_calls" and not calls:
            reason = "stop"
        usage, metadata = answer.usage, {}
        input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
        if not input_tokens:
            written = content + "".join(call.name + str(dict(call.arguments)) for call in calls)
            input_tokens = self.estimate_tokens(request.messages, request.tools)
            output_tokens = output_tokens or estimate_text_tokens(written)
            metadata["usage"] = "estimated"
        return LLMResponse(
            content=content,
            model=answer.model_name or self._config.model_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            finish_reason=reason,
            cost_usd=self.get_cost(input_tokens, output_tokens),
            metadata=metadata,
            tool_calls=calls,
        )


def _text_in(event: ModelResponseStreamEvent | ModelResponse) -> str:
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    return ""
