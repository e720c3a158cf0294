"""Carrying out a call that is allowed: through the effect ledger, within its time, its result kept within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from callboard.agents.engine import Asked, Done, Effect, EffectKey, Fresh, Note, Unknown, Usage, Work
from callboard.agents.engines.artifact_reading import kept
from callboard.agents.engines.course import room_of
from callboard.agents.engines.human_question import repeat_question
from callboard.agents.engines.notes import arguments_text, result_note
from callboard.agents.engines.place import call_digest
from callboard.agents.engines.text_limits import clipped, shortened
from callboard.agents.tools.redacted_artifacts import RedactedArtifacts
from callboard.agents.tools.tool import Tool, ToolContext, ToolError
from callboard.failpoint import reached
from callboard.llm.provider import Message, ToolCall

_ERROR_BYTES = 4096
_SHOWN_EDIT_CHARS = 1000
_SEEN_ERROR_CHARS = 300
_BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be carried out: the model's call, or what a person made of it. `notes` belong to its result."""

    key: EffectKey
    call: ToolCall
    edited: bool = False
    notes: tuple[Note, ...] = ()

    def effect(self, tool: Tool, *, idempotent: bool) -> Effect:
        return Effect(key=self.key, tool=tool.name, arguments_digest=call_digest(self.call), idempotent=idempotent)


async def carry_out(work: Work, tool: Tool, order: Order, *, tainted: bool = False) -> Message | Asked:
    """The call's result, journalled already, or the question that the run has to wait for.

    `tainted`: the run has read what strangers may have written, and the tool may want to know.
    """
    override = work.tools.settings(tool.name).idempotent
    effect = order.effect(tool, idempotent=tool.idempotent if override is None else override)
    if not effect.idempotent:
        settled = await _begin(work, tool, order, effect)
        if settled is not None:
            return settled
    return await _call(work, tool, order, effect, tainted=tainted)


def result_bytes(work: Work, tool: Tool | None) -> int:
    """How much of a result the model is shown: what the file says, and never more than a quarter of what the model can
    read at once."""
    given = None if tool is None else work.tools.settings(tool.name).max_result_bytes
    room = max(1000, room_of(work) * _BYTES_A_TOKEN // 4)
    return min(given or work.limits.max_result_bytes, room)


def result_message(order: Order, text: str, *, untrusted: bool) -> Message:
    if order.edited:
        shown = clipped(arguments_text(order.call.arguments), _SHOWN_EDIT_CHARS)
        text = f"[a person changed the arguments to {shown}]\n{text}"
    return Message(role="tool", content=text, tool_call_id=order.call.id, untrusted=untrusted)


def error_message(call: ToolCall, problem: str, *, untrusted: bool = False) -> Message:
    text = f"Error: {shortened(problem, _ERROR_BYTES)}"
    return Message(role="tool", content=text, tool_call_id=call.id, is_error=True, untrusted=untrusted)


async def _begin(work: Work, tool: Tool, order: Order, effect: Effect) -> Message | Asked | None:
    """None when the effect is to be carried out now, else how it was settled."""
    state = await work.journal.begin_effect(effect)
    if isinstance(state, Unknown):
        question = repeat_question(order.call, effect.key, fencing=state.fencing, rules=work.questions)
        answer = work.answers.get(question.key)
        if answer is None:
            return Asked(question=question, usage=Usage())
        if answer.value is not True:
            return await _not_repeated(work, order, effect, expired=answer.status == "expired")
        state = await work.journal.begin_effect(effect, repeat=True)
    if isinstance(state, Done):
        message = result_message(order, state.result, untrusted=tool.traits.reads_untrusted)
        await work.journal.append([message], Usage())
        return message
    if isinstance(state, Fresh):
        return None
    raise AssertionError("unreachable: a repetition that is allowed is fresh")


async def _not_repeated(work: Work, order: Order, effect: Effect, *, expired: bool) -> Message:
    who = "nobody answered whether to repeat it" if expired else "a person decided not to repeat it"
    said = f"it is not known whether this happened, and {who}"
    message = error_message(order.call, said)
    note = result_note(effect.tool, effect.key, said, ok=False, seconds=None, redact=work.redact)
    await work.journal.fail_effect(effect, said, [message], [*order.notes, note])
    return message


async def _call(work: Work, tool: Tool, order: Order, effect: Effect, *, tainted: bool) -> Message | Asked:
    untrusted = tool.traits.reads_untrusted

    def mark() -> None:
        nonlocal untrusted
        untrusted = True

    begun = work.clock.monotonic()
    limit = work.tools.settings(tool.name).timeout_seconds or tool.timeout_seconds
    reached("tool.attempting")
    work.journal.busy(limit)
    try:
        async with asyncio.timeout(limit):
            text = await tool.call(order.call.arguments, _context(work, effect, limit, mark, tainted=tainted))
        reached("tool.called")
    except TimeoutError:
        error = ToolError(f"{tool.name} did not end within {limit:g} s", outcome_unknown=True)
        return await _failed(work, tool, order, effect, error)
    except ToolError as error:
        return await _failed(work, tool, order, effect, error)
    finally:
        work.journal.beat()
    result = await kept(work, tool.name, work.redact(text), result_bytes(work, tool))
    message = result_message(order, result, untrusted=untrusted)
    seconds = work.clock.monotonic() - begun
    note = result_note(tool.name, effect.key, result, ok=True, seconds=seconds, redact=work.redact)
    await work.journal.finish_effect(effect, result, [message], [*order.notes, note])
    reached("tool.recorded")
    return message


async def _failed(work: Work, tool: Tool, order: Order, effect: Effect, error: ToolError) -> Message | Asked:
    if error.outcome_unknown and not effect.idempotent:
        # The entry stays `attempting`: that is what the question, and a resumed run, will find.
        state = await work.journal.begin_effect(effect)
        if isinstance(state, Unknown):
            seen = clipped(work.redact(error.message), _SEEN_ERROR_CHARS).rstrip(".")
            question = repeat_question(order.call, effect.key, fencing=state.fencing, rules=work.questions, seen=seen)
            return Asked(question=question, usage=Usage(), notes=order.notes)
    said = shortened(work.redact(error.message), _ERROR_BYTES)
    # A stranger's page may have written the error too.
    message = error_message(order.call, said, untrusted=tool.traits.reads_untrusted)
    note = result_note(tool.name, effect.key, said, ok=False, seconds=None, redact=work.redact)
    await work.journal.fail_effect(effect, said, [message], [*order.notes, note])
    return message


def _context(work: Work, effect: Effect, limit: float, mark: Callable[[], None], *, tainted: bool) -> ToolContext:
    left = limit if work.deadline is None else min(limit, max(0.0, work.deadline - work.clock.monotonic()))
    return ToolContext(
        run_id=work.run_id,
        agent=work.agent,
        idempotency_key=effect.key.digest,
        artifacts=RedactedArtifacts(work.artifacts, work.redact),
        tenant=work.tenant,
        root_run_id=work.root_run_id,
        conversation_id=work.conversation_id,
        actor=work.actor,
        reply_to=work.reply_to,
        seconds_left=left,
        memory_scope=work.memory_scope,
        tainted=tainted,
        mark_untrusted=mark,
    )
