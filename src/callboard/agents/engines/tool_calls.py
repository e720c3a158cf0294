"""Carrying out one call of the model's: a tool through the effect ledger, or a question to a person."""

from __future__ import annotations

import asyncio

from callboard.agents.engine import Asked, Done, Effect, Fresh, Unknown, Usage, Work
from callboard.agents.engines.human_question import answer_text, question_of, repeat_question
from callboard.agents.engines.place import PendingCall, call_digest
from callboard.agents.engines.text_limits import shortened
from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.tool import Tool, ToolContext, ToolError
from callboard.failpoint import reached
from callboard.llm.ask_human import ASK_HUMAN
from callboard.llm.provider import Message, ToolCall

_ERROR_BYTES = 4096


async def carry_out(work: Work, pending: PendingCall) -> Message | Asked:
    """The call's result, journalled already, or the question that the run has to wait for.

    The model's answer that holds the call is journalled with its usage, so nothing is left for an `Asked` to carry.
    """
    call = pending.call
    if call.name == ASK_HUMAN:
        return await _ask(work, pending)
    tool = work.tools.get(call.name)
    problem = _problem(work, tool, call)
    if tool is None or problem is not None:
        return await _tell(work, call, problem or "")
    effect = Effect(key=pending.key, tool=tool.name, arguments_digest=call_digest(call), idempotent=tool.idempotent)
    if not tool.idempotent:
        settled = await _begin(work, call, effect)
        if settled is not None:
            return settled
    return await _call(work, tool, call, effect)


def _problem(work: Work, tool: Tool | None, call: ToolCall) -> str | None:
    if tool is None:
        names = ", ".join([*work.tools.names(), ASK_HUMAN])
        return f"there is no tool {call.name!r}; there are: {names}"
    if call.malformed is not None:
        return "the arguments are not a JSON object"
    problems = argument_problems(tool.parameters, call.arguments)
    return "; ".join(problems) if problems else None


async def _ask(work: Work, pending: PendingCall) -> Message | Asked:
    if pending.call.malformed is not None:
        return await _tell(work, pending.call, "the arguments are not a JSON object")
    question = question_of(pending.call, pending.key)
    if isinstance(question, list):
        return await _tell(work, pending.call, "; ".join(question))
    answer = work.answers.get(question.key)
    if answer is None:
        return Asked(question=question, usage=Usage())
    message = _result(pending.call, shortened(answer_text(answer), work.limits.max_result_bytes))
    await work.journal.append([message], Usage())
    return message


async def _begin(work: Work, call: ToolCall, effect: Effect) -> Message | Asked | None:
    """None when the effect is to be carried out now, else how it was settled."""
    state = await work.journal.begin_effect(effect)
    if isinstance(state, Unknown):
        question = repeat_question(call, effect.key, fencing=state.fencing)
        answer = work.answers.get(question.key)
        if answer is None:
            return Asked(question=question, usage=Usage())
        if answer.value is not True:
            said = f"it is not known whether {call.name} happened; a person decided not to repeat it"
            message = _error(call, said)
            await work.journal.fail_effect(effect, said, [message])
            return message
        state = await work.journal.begin_effect(effect, repeat=True)
    if isinstance(state, Done):
        message = _result(call, state.result)
        await work.journal.append([message], Usage())
        return message
    assert isinstance(state, Fresh), f"the journal answered {state} to a confirmed repetition of {effect.key.text}"  # noqa: S101
    return None


async def _call(work: Work, tool: Tool, call: ToolCall, effect: Effect) -> Message | Asked:
    context = ToolContext(
        run_id=work.run_id, agent=work.agent, idempotency_key=effect.key.digest, artifacts=work.artifacts
    )
    reached("tool.attempting")
    await work.journal.progress("tool_started", {"tool": tool.name})
    work.journal.busy(tool.timeout_seconds)
    try:
        async with asyncio.timeout(tool.timeout_seconds):
            text = await tool.call(call.arguments, context)
        reached("tool.called")
    except TimeoutError:
        error = ToolError(f"{tool.name} did not end within {tool.timeout_seconds:g} s", outcome_unknown=True)
        return await _failed(work, call, effect, error)
    except ToolError as error:
        return await _failed(work, call, effect, error)
    finally:
        work.journal.beat()
    result = shortened(text, work.limits.max_result_bytes)
    message = _result(call, result)
    await work.journal.finish_effect(effect, result, [message])
    reached("tool.recorded")
    return message


async def _failed(work: Work, call: ToolCall, effect: Effect, error: ToolError) -> Message | Asked:
    if error.outcome_unknown and not effect.idempotent:
        # The entry stays `attempting`: that is what the question, and a resumed run, will find.
        state = await work.journal.begin_effect(effect)
        if isinstance(state, Unknown):
            return Asked(question=repeat_question(call, effect.key, fencing=state.fencing), usage=Usage())
    said = shortened(error.message, _ERROR_BYTES)
    message = _error(call, said)
    await work.journal.fail_effect(effect, said, [message])
    return message


async def _tell(work: Work, call: ToolCall, problem: str) -> Message:
    """A call that no tool has seen: the model is told why."""
    message = _error(call, shortened(problem, _ERROR_BYTES))
    await work.journal.append([message], Usage())
    return message


def _result(call: ToolCall, text: str) -> Message:
    return Message(role="tool", content=text, tool_call_id=call.id)


def _error(call: ToolCall, text: str) -> Message:
    return Message(role="tool", content=f"Error: {text}", tool_call_id=call.id, is_error=True)
