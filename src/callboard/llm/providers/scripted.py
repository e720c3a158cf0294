"""The model that needs no account: it echoes, or follows the rules of its script, the same way every time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence

from pydantic import JsonValue

from callboard.clock import Clock
from callboard.llm.ask_human import ASK_HUMAN
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMInvalidRequestError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.pattern_search import PatternSearch, PatternTooSlowError
from callboard.llm.placeholders import fill, fill_all
from callboard.llm.pricing import PriceTable
from callboard.llm.provider import (
    LLMChunk,
    LLMConfig,
    LLMRequest,
    LLMResponse,
    Message,
    PlanRequest,
    ToolCall,
    ToolSpec,
)
from callboard.llm.script import ScriptRule

_CHARS_A_TOKEN = 4


class ScriptedProvider:
    """`model_id: echo` answers with the last user message, `script` by its first rule that fits it.

    Asked for a plan, both give one: the `say` of the first rule that fits the goal and holds a plan's JSON, else one
    step a member, each after the one before. Waiting goes through the clock. Tokens are estimated; it costs nothing
    unless a price was written down for it, to try budgets out with.
    """

    def __init__(self, config: LLMConfig, clock: Clock, prices: PriceTable | None = None) -> None:
        if config.model_id not in ("echo", "script"):
            raise LLMInvalidRequestError(
                f"the scripted provider has no model {config.model_id!r}: write echo or script"
            )
        self._rules = config.script if config.model_id == "script" else (ScriptRule(say="{input}"),)
        self._model_id = config.model_id
        self._prices = prices or PriceTable()
        self._clock = clock
        self._patterns = PatternSearch()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        if request.plan is not None:
            return self._response(request, content=await self._plan(request.plan, request.turn))
        asked, results = _last_exchange(request.messages)
        rule = await self._first(self._rules, asked)
        if rule is None:
            raise LLMInvalidRequestError(
                "no rule of the script fits the last message: add a last rule without 'when' that says what to answer"
            )
        if not results:
            await self._wait_and_fail(rule)
        return self._act(rule, request, asked, results)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        response = await self.complete(request)
        for piece in response.content.splitlines(keepends=True):
            yield LLMChunk(text=piece)
        yield LLMChunk(response=response)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return self.estimate_tokens(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        del tools
        return sum(_tokens(message.content) for message in messages)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return self._prices.cost("scripted", self._model_id, input_tokens=input_tokens, output_tokens=output_tokens)

    async def close(self) -> None:
        """Holds nothing."""

    async def _first(self, rules: Sequence[ScriptRule], text: str) -> ScriptRule | None:
        for rule in rules:
            if rule.when is None:
                return rule
            try:
                if await self._patterns.found(rule.when, text):
                    return rule
            except PatternTooSlowError:
                raise LLMInvalidRequestError(
                    f"the script's pattern {rule.when!r} takes too long on this message: write it without nested "
                    f"repetitions"
                ) from None
        return None

    async def _wait_and_fail(self, rule: ScriptRule) -> None:
        if rule.wait_seconds > 0:
            await self._clock.sleep(rule.wait_seconds)
        match rule.error:
            case "rate_limit":
                raise LLMRateLimitError("the script says: rate limit", retry_after=rule.retry_after_seconds)
            case "service_unavailable":
                raise LLMServiceUnavailableError("the script says: service unavailable")
            case "authentication":
                raise LLMAuthenticationError("the script says: authentication failed")
            case "invalid_request":
                raise LLMInvalidRequestError("the script says: invalid request")
            case "crash":
                raise RuntimeError("the script says: crash")
            case None:
                pass

    def _act(self, rule: ScriptRule, request: LLMRequest, asked: str, results: Sequence[str]) -> LLMResponse:
        """The rule's next action: the results since the user's message tell which ones are behind it."""
        given = list(results)
        values = {"input": asked, "turn": str(request.turn)}
        if rule.ask is not None:
            if not given:
                kind = rule.ask.kind or ("choice" if rule.ask.options else "input")
                question: dict[str, JsonValue] = {"question": fill(rule.ask.question, values), "kind": kind}
                if rule.ask.options:
                    question["options"] = [fill(option, values) for option in rule.ask.options]
                return self._call(request, ASK_HUMAN, question, len(results))
            values["answer"] = given.pop(0)
        if rule.call is not None:
            if not given:
                arguments = {key: fill_all(value, values) for key, value in rule.call.args.items()}
                return self._call(request, rule.call.tool, arguments, len(results))
            values["result"] = given.pop(0)
        say = rule.say if rule.say is not None else values.get("result", values.get("answer", asked))
        return self._response(request, content=fill(say, values) if rule.say is not None else say)

    async def _plan(self, plan: PlanRequest, turn: int) -> str:
        rules = [rule for rule in self._rules if rule.error is not None or _holds_plan(rule.say)]
        rule = await self._first(rules, plan.goal)
        if rule is None:
            return json.dumps({"steps": _default_steps(plan)}, ensure_ascii=False)
        await self._wait_and_fail(rule)
        # Inside JSON text a value must be escaped, or a quotation mark in the goal would break the plan.
        return fill(rule.say or "", {"input": json.dumps(plan.goal, ensure_ascii=False)[1:-1], "turn": str(turn)})

    def _call(self, request: LLMRequest, tool: str, arguments: Mapping[str, JsonValue], index: int) -> LLMResponse:
        call = ToolCall(id=f"call_{request.turn}_{index}", name=tool, arguments=arguments)
        return self._response(request, tool_calls=(call,))

    def _response(
        self, request: LLMRequest, *, content: str = "", tool_calls: tuple[ToolCall, ...] = ()
    ) -> LLMResponse:
        written = content + "".join(json.dumps(dict(call.arguments)) for call in tool_calls)
        read, answered = self.estimate_tokens(request.messages), _tokens(written)
        return LLMResponse(
            content=content,
            model=self._model_id,
            input_tokens=read,
            output_tokens=answered,
            finish_reason="tool_calls" if tool_calls else "stop",
            cost_usd=self.get_cost(read, answered),
            tool_calls=tool_calls,
        )


def _last_exchange(messages: Sequence[Message]) -> tuple[str, list[str]]:
    """The last user message and the results of the calls made since, in order."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role == "user":
            return message.content, results[::-1]
        if message.role == "tool":
            results.append(message.content)
    raise LLMInvalidRequestError("the request holds no user message: there is nothing to answer")


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_A_TOKEN)


def _holds_plan(say: str | None) -> bool:
    return say is not None and say.lstrip().startswith("{") and '"steps"' in say


def _default_steps(plan: PlanRequest) -> list[dict[str, object]]:
    steps: list[dict[str, object]] = []
    before: str | None = None
    for member in plan.members[: plan.max_steps]:
        wanted = "${input}" if before is None else f"${{input}}\n\n${{step.{before}.output}}"
        steps.append(
            {"id": member.name, "agent": member.name, "input": wanted, "depends_on": [] if before is None else [before]}
        )
        before = member.name
    return steps
