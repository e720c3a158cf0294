"""The engine of our own: the model answers, its calls are carried out, it sees the results, until it says something."""

from __future__ import annotations

import json

from callboard.agents.engine import Asked, Failed, Outcome, Succeeded, Usage, Work
from callboard.agents.engines.model_call import call_model
from callboard.agents.engines.place import call_digest, calls_so_far, next_call
from callboard.agents.engines.text_limits import size_bytes, storable
from callboard.agents.engines.tool_calls import carry_out
from callboard.llm.ask_human import ask_human_spec
from callboard.llm.provider import LLMRequest, LLMResponse, Message


class ToolLoopEngine:
    """Checkpoints every model answer that holds calls, and every result. The final answer is left to the transaction
    that finishes the run, so that an agent without tools makes no checkpoint at all."""

    async def execute(self, work: Work) -> Outcome:
        entries = list(await work.journal.entries())
        while True:
            pending = next_call(entries, run_id=work.run_id, step=work.step)
            if pending is not None:
                result = await carry_out(work, pending)
                if isinstance(result, Asked):
                    return result
                entries.append(result)
                continue
            response = await call_model(work, _request(work, entries))
            if isinstance(response, Failed):
                return response
            refused = _refusal(work, entries, response)
            if refused is not None:
                return refused
            message = Message(role="assistant", content=storable(response.content), tool_calls=response.tool_calls)
            if not response.tool_calls:
                return Succeeded(
                    output=message.content, messages=(_user_message(work), *entries, message), usage=Usage.of(response)
                )
            await work.journal.append([message], Usage.of(response))
            entries.append(message)


def _user_message(work: Work) -> Message:
    return Message(role="user", content=work.input)


def _request(work: Work, entries: list[Message]) -> LLMRequest:
    system = (Message(role="system", content=work.instructions),) if work.instructions else ()
    return LLMRequest(
        messages=(*system, *work.history, _user_message(work), *entries),
        tools=(*work.tools.specs, ask_human_spec()),
        turn=work.turn,
    )


def _refusal(work: Work, entries: list[Message], response: LLMResponse) -> Failed | None:
    """Why this answer cannot be used, None when it can."""
    limits, usage = work.limits, Usage.of(response)
    arguments = "".join(json.dumps(dict(call.arguments)) + (call.malformed or "") for call in response.tool_calls)
    size = size_bytes(response.content) + len(arguments)
    if size > limits.max_output_bytes:
        return Failed(
            code="output_too_large",
            message=f"the model answered with {size} bytes; the limit is {limits.max_output_bytes}: ask it for less",
            retryable=False,
            usage=usage,
        )
    if response.finish_reason == "content_filter":
        return Failed(
            code="content_filtered",
            message="the provider's content filter held the answer back",
            retryable=False,
            usage=usage,
        )
    if response.tool_calls:
        return _call_refusal(work, entries, response)
    if not response.content.strip():
        return Failed(code="empty_answer", message="the model answered with nothing", retryable=True, usage=usage)
    return None


def _call_refusal(work: Work, entries: list[Message], response: LLMResponse) -> Failed | None:
    calls = [*calls_so_far(entries), *response.tool_calls]
    most = work.limits.max_tool_calls
    if len(calls) > most:
        return Failed(
            code="tool_call_limit",
            message=f"the model wants its tool call number {len(calls)}; limits.max_tool_calls is {most}",
            retryable=False,
            usage=Usage.of(response),
        )
    digests = [call_digest(call) for call in calls]
    for call in response.tool_calls:
        if digests.count(call_digest(call)) >= work.limits.max_same_call:
            return Failed(
                code="tool_call_loop",
                message=f"the model has asked {digests.count(call_digest(call))} times for {call.name} with the same "
                f"arguments: it goes in circles",
                retryable=False,
                usage=Usage.of(response),
            )
    return None
