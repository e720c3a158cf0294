"""The engine of our own: the model answers, its calls are carried out, it sees the results, until it says something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pydantic import JsonValue

from callboard.agents.engine import Failed, Outcome, Succeeded, Usage, Work
from callboard.agents.engines.call_limits import enough_asked
from callboard.agents.engines.course import RunCourse
from callboard.agents.engines.exposure import is_tainted
from callboard.agents.engines.final_answer import Again, Calls, Final, verdict_on
from callboard.agents.engines.model_call import Answered
from callboard.agents.engines.notes import call_note
from callboard.agents.engines.place import calls_of_next_answer, next_call
from callboard.agents.engines.text_limits import storable
from callboard.agents.engines.tool_calls import ToolCalls
from callboard.agents.engines.tool_rules import ToolRules
from callboard.llm.pattern_search import PatternSearch
from callboard.llm.provider import Message


class ToolLoopEngine:
    """Checkpoints every model answer that is not the last one, and every result. The last answer is left to the
    transaction that finishes the run, so that an agent without tools makes no checkpoint at all."""

    def __init__(self) -> None:
        self._calls = ToolCalls(ToolRules(PatternSearch()))

    async def execute(self, work: Work) -> Outcome:
        run = RunCourse(work, await work.journal.entries())
        while True:
            pending = next_call(run.entries, run_id=work.run_id, step=work.step)
            if pending is not None:
                result = await self._calls.result(run, pending)
                if not isinstance(result, Message):
                    return result
                run.took(result)
                continue
            tired = enough_asked(run.entries, run.used, work.limits)
            if tired is not None:
                return tired
            answer = await run.ask()
            if not isinstance(answer, Answered):
                return answer
            outcome = await self._used(run, answer)
            if outcome is not None:
                return outcome

    async def _used(self, run: RunCourse, answer: Answered) -> Outcome | None:
        """What the answer makes of the run; None when it goes on."""
        work, response = run.work, answer.response
        usage, notes = Usage.of(response), run.notes(answer)
        message = Message(
            role="assistant", content=work.redact(storable(response.content)), tool_calls=response.tool_calls
        )
        match verdict_on(response, run.entries, work.limits, work.output_schema):
            case Failed() as failed:
                return replace(failed, notes=tuple(notes))
            case Final(output=output):
                said = _redacted(output, work.redact)
                if run.tainted and not is_tainted(run.entries):
                    # Another run of the request has read it: whoever reads this conversation later must know.
                    message = replace(message, untrusted=True)
                messages = (run.asked, *run.entries, message)
                return Succeeded(output=said, messages=messages, usage=usage, notes=tuple(notes))
            case Calls():
                keys = calls_of_next_answer(run.entries, response.tool_calls, run_id=work.run_id, step=work.step)
                wanted = [call_note(pending.call, pending.key, work.redact) for pending in keys]
                await run.append([message], usage, [*notes, *wanted])
            case Again(told=told):
                await run.append([message, Message(role="user", content=told)], usage, notes)
        return None


def _redacted(value: JsonValue, redact: Callable[[str], str]) -> JsonValue:
    """An answer by a schema holds its texts at any depth."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(each, redact) for each in value]
    if isinstance(value, dict):
        return {name: _redacted(each, redact) for name, each in value.items()}
    return value
