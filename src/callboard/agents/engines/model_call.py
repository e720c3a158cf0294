"""One model call, with the waits that a rate limit asks for (DESIGN.md, rule 10)."""

from __future__ import annotations

from callboard.agents.engine import Failed, Usage, Work
from callboard.llm.errors import LLMProviderError, LLMRateLimitError
from callboard.llm.provider import LLMRequest, LLMResponse

MAX_WAITS = 5
MAX_WAIT_SECONDS = 60.0
"""A longer wait holds no slot: the run goes back to the backlog with the time it asks for."""
MAX_CALL_SECONDS = 600.0
"""What a model call without a deadline is given before its silence counts as death."""


async def call_model(work: Work, request: LLMRequest) -> LLMResponse | Failed:
    """The answer, or why there is none; a `Failed` carries no usage."""
    for waits in range(MAX_WAITS + 1):
        work.journal.busy(_seconds_left(work, MAX_CALL_SECONDS))
        try:
            return await work.provider.complete(request)
        except LLMRateLimitError as error:
            delay = error.retry_after if error.retry_after is not None else float(2**waits)
            if waits == MAX_WAITS or delay > MAX_WAIT_SECONDS or delay >= _seconds_left(work, float("inf")):
                return _failed(error, retry_after=delay)
            await work.journal.progress("rate_limited", {"retry_after_seconds": delay, "wait": waits + 1})
            work.journal.busy(delay)
            await work.clock.sleep(delay)
        except LLMProviderError as error:
            return _failed(error, retry_after=None)
        finally:
            work.journal.beat()
    raise AssertionError("unreachable: the last wait returns")


def _seconds_left(work: Work, without_deadline: float) -> float:
    if work.deadline is None:
        return without_deadline
    return max(0.0, work.deadline - work.clock.monotonic())


def _failed(error: LLMProviderError, *, retry_after: float | None) -> Failed:
    return Failed(
        code=error.code, message=error.message, retryable=error.retryable, usage=Usage(), retry_after=retry_after
    )
