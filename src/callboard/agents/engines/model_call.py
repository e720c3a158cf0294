"""One model call: within the budgets, with the waits that a rate limit asks for (DESIGN.md, rules 7 and 10, R20)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from callboard.agents.engine import (
    Answer,
    Asked,
    Busy,
    Failed,
    Journal,
    OnText,
    OverBudget,
    Paused,
    Question,
    QuestionRules,
    Unpriced,
    Usage,
)
from callboard.clock import Clock
from callboard.llm.errors import LLMProviderError, LLMRateLimitError, LLMServiceUnavailableError
from callboard.llm.money import told_usd
from callboard.llm.provider import LLMConfig, LLMProvider, LLMRequest, LLMResponse

MAX_WAITS = 5
MAX_WAIT_SECONDS = 60.0
"""A longer wait holds no slot: the run goes back to the backlog with the time it asks for."""
MAX_CALL_SECONDS = 600.0
"""What a model call without a deadline is given before its silence counts as death."""
PAUSE_SECONDS = 15.0
"""How long a run waits for a provider that names no time."""
RAISE = "+ $1"
STOP = "stop"


class Asker(Protocol):
    """Whose call it is. A `Work` is one; whoever else asks models within a run makes one of its own."""

    @property
    def config(self) -> LLMConfig: ...
    @property
    def provider(self) -> LLMProvider: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def answers(self) -> Mapping[str, Answer]: ...
    @property
    def questions(self) -> QuestionRules | None: ...
    @property
    def on_text(self) -> OnText | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The model's answer and how long it took."""

    response: LLMResponse
    seconds: float


NoAnswer: TypeAlias = Failed | Asked | Paused
"""What a run comes to that gets no answer; it carries no usage."""


async def ask_model(asker: Asker, request: LLMRequest, *, call: int) -> Answered | NoAnswer:
    """The answer, or what the run comes to without one. `call` numbers the model calls of this claim from 0."""
    refused = await _reserve(asker, request, call)
    if refused is not None:
        return refused
    for waits in range(MAX_WAITS + 1):
        begun = asker.clock.monotonic()
        asker.journal.busy(_seconds_left(asker, MAX_CALL_SECONDS))
        try:
            response = await _answer(asker, request)
            return Answered(response=response, seconds=asker.clock.monotonic() - begun)
        except LLMRateLimitError as error:
            delay = error.retry_after if error.retry_after is not None else float(2**waits)
            if waits == MAX_WAITS or delay > MAX_WAIT_SECONDS or delay >= _seconds_left(asker, float("inf")):
                return _without(asker, error, delay)
            await asker.journal.progress("rate_limited", {"retry_after_seconds": delay, "wait": waits + 1})
            asker.journal.busy(delay)
            await asker.clock.sleep(delay)
        except LLMServiceUnavailableError as error:
            return _without(asker, error, getattr(error, "retry_after", None))
        except LLMProviderError as error:
            return _without(asker, error, None)
        finally:
            asker.journal.beat()
    raise AssertionError("unreachable: the last wait returns")


async def _answer(asker: Asker, request: LLMRequest) -> LLMResponse:
    told = asker.on_text
    if told is None or not told.begin():
        return await asker.provider.complete(request)
    response = None
    chunks = asker.provider.stream(request)
    try:
        async for chunk in chunks:
            if chunk.text:
                await told(chunk.text)
            response = chunk.response or response
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
        await told.done()
    if response is None:
        raise LLMServiceUnavailableError("the answer ended before it was whole")
    return response


async def _reserve(asker: Asker, request: LLMRequest, call: int) -> Asked | Paused | Failed | None:
    """None when the call may be made."""
    most = max(config.max_tokens for config in (asker.config, *asker.config.fallback))
    # A free model needs no estimate, and most tests and offline agents have one.
    if asker.provider.get_cost(1_000_000, most) == 0.0:
        return None
    worst = asker.provider.get_cost(asker.provider.estimate_tokens(request.messages, request.tools), most)
    match await asker.journal.reserve(call, worst):
        case OverBudget() as over:
            return _over_budget(asker, over)
        case Busy(seconds=seconds):
            said = "the rest of the budget is reserved by other runs' model calls"
            return Paused(kind="budget", message=said, seconds=seconds, usage=Usage())
        case Unpriced(budget=budget):
            return _unpriced(asker, within_budget=budget)
        case _:
            return None


def _unpriced(asker: Asker, *, within_budget: bool) -> Failed:
    model = f"{asker.config.provider} {asker.config.model_id}"
    why = "a budget applies to this run" if within_budget else "config/models.yaml says unknown_price: refuse"
    message = f"nobody knows what {model} costs, and {why}: write its price, or an unknown_price, in config/models.yaml"
    return Failed(code="unknown_price", message=message, retryable=False, usage=Usage())


def _over_budget(asker: Asker, over: OverBudget) -> Asked | Failed:
    """Each raise of a limit is a question of its own; a no, or no answer, ends the run."""
    whose = {"run": "this run", "global": "the whole installation"}.get(over.scope, f"{over.scope} {over.name}")
    said = f"{whose} has spent {told_usd(over.spent_usd)} of {told_usd(over.limit_usd)}"
    asked_before = [answer for key, answer in asker.answers.items() if key.startswith(f"budget/{over.scope}/")]
    for answer in asked_before:
        if answer.status == "expired" or answer.value == STOP:
            why = "nobody answered whether to raise it" if answer.status == "expired" else "a person said stop"
            return Failed(code="budget_exceeded", message=f"{said}; {why}", retryable=False, usage=Usage())
    question = Question(
        key=f"budget/{over.scope}/{len(asked_before)}",
        kind="choice",
        text=f"{said[0].upper()}{said[1:]}, and the next model call may cost up to {told_usd(over.needed_usd)}. Go on?",
        options=(RAISE, STOP),
        purpose="budget",
        details={
            "scope": over.scope,
            "name": over.name,
            "day": over.day,
            "raises": over.raised,
            "limit_usd": over.limit_usd,
            "spent_usd": over.spent_usd,
            "needed_usd": over.needed_usd,
        },
        rules=asker.questions,
    )
    return Asked(question=question, usage=Usage())


def _seconds_left(asker: Asker, without_deadline: float) -> float:
    if asker.deadline is None:
        return without_deadline
    return max(0.0, asker.deadline - asker.clock.monotonic())


def _without(asker: Asker, error: LLMProviderError, retry_after: float | None) -> Failed | Paused:
    """A provider that may come back is waited for; a scripted failure is played, not waited out."""
    played = asker.config.provider == "scripted" and not asker.config.fallback
    if error.retryable and not played:
        seconds = PAUSE_SECONDS if retry_after is None else retry_after
        return Paused(kind="provider", message=error.message, seconds=seconds, usage=Usage())
    return Failed(
        code=error.code, message=error.message, retryable=error.retryable, usage=Usage(), retry_after=retry_after
    )
