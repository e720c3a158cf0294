"""A run under way: its entries, its model calls, and what the model is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from callboard.agents.engine import Note, Usage, Work
from callboard.agents.engines.artifact_reading import offers_reading, read_artifact_spec
from callboard.agents.engines.context_window import Course, certainly_fits, squeezed, to_summarise
from callboard.agents.engines.exposure import is_tainted
from callboard.agents.engines.model_call import Answered, NoAnswer, ask_model
from callboard.agents.engines.notes import model_notes
from callboard.agents.engines.summary import summarise
from callboard.agents.engines.text_limits import storable
from callboard.agents.tools.tool import Tool
from callboard.llm.ask_human import ask_human_spec
from callboard.llm.provider import LLMRequest, LLMResponse, Message, ToolSpec

SUMMARY_TOKENS = 800
_CHARS_A_TOKEN = 3

ModelAnswer: TypeAlias = Answered


class RunCourse:
    """One execution of a run. What it adds to the entries is in the journal already."""

    def __init__(self, work: Work, entries: Sequence[Message]) -> None:
        self.work = work
        self.entries = list(entries)
        self.used = work.used
        self._calls = 0
        self._tainted = work.tainted or is_tainted(work.history) or is_tainted(self.entries)

    @property
    def tainted(self) -> bool:
        """Whether the model has been shown what strangers may have written."""
        return self._tainted

    @property
    def told(self) -> tuple[Message, ...]:
        """Everything that the model may have been shown of the conversation."""
        return (*self.work.history, self.asked, *self.entries)

    @property
    def asked(self) -> Message:
        return Message(role="user", content=self.work.input)

    @property
    def written(self) -> list[str]:
        """In which addresses can stand that no model has put there: what a person said in this conversation, and pages.

        A task that came from another run's model is nobody's word. Of results only those count which cannot repeat
        what they were called with.
        """
        work = self.work
        found: list[str] = []
        called: dict[str, Tool | None] = {}
        for message in self.told:
            if message.role == "assistant":
                called = {call.id: work.tools.get(call.name) for call in message.tool_calls}
            elif message.role == "tool":
                tool = called.get(message.tool_call_id or "")
                if tool is not None and tool.traits.links and not message.is_error:
                    found.append(message.content)
            elif message.stands_for is None and not self._is_handed_on:
                found.append(message.content)
        return found

    @property
    def _is_handed_on(self) -> bool:
        work = self.work
        return work.tainted and (work.depth > 0 or (work.actor is not None and work.actor.kind == "agent"))

    async def append(self, messages: Sequence[Message], usage: Usage, notes: Sequence[Note]) -> None:
        """A checkpoint."""
        await self.work.journal.append(messages, usage, notes)
        self.took(*messages)

    def took(self, *messages: Message) -> None:
        """These are in the journal."""
        self.entries += messages
        self._tainted = self._tainted or is_tainted(messages)

    async def ask(self) -> ModelAnswer | NoAnswer:
        """The model's next answer, once what it is shown fits into its window."""
        tools = self._tools()
        messages = await self._fitting(tools)
        if not isinstance(messages, tuple):
            return messages
        return await self._call(
            LLMRequest(messages=messages, tools=tools, turn=self.work.turn, output_schema=self.work.output_schema)
        )

    def notes(self, answer: ModelAnswer, purpose: str | None = None) -> list[Note]:
        turn = sum(entry.role == "assistant" for entry in self.entries)
        return model_notes(answer.response, seconds=answer.seconds, turn=turn, redact=self.work.redact, purpose=purpose)

    def _tools(self) -> tuple[ToolSpec, ...]:
        more = (read_artifact_spec(),) if offers_reading(self.told) else ()
        return (*self.work.tools.specs, *more, ask_human_spec())

    async def _call(self, request: LLMRequest) -> ModelAnswer | NoAnswer:
        answer = await ask_model(self.work, request, call=self._calls)
        self._calls += 1
        if isinstance(answer, Answered):
            self.used += Usage.of(answer.response)
        return answer

    async def _fitting(self, tools: tuple[ToolSpec, ...]) -> tuple[Message, ...] | NoAnswer:
        room = room_of(self.work)
        estimate = self.work.provider.estimate_tokens
        shown = self._course().shown()
        if certainly_fits(shown, tools, room):
            return shown
        while estimate(shown, tools) > room:
            part = to_summarise(self._course(), room, estimate)
            if part is None:
                return squeezed(shown, room - estimate((), tools), estimate)
            model = _Summariser(self)
            try:
                text, usage = await summarise(
                    model, part.messages, min(SUMMARY_TOKENS, room // 4), max_chars=room * _CHARS_A_TOKEN
                )
            except _NoSummaryError as error:
                return error.outcome
            summary = Message(role="user", content=storable(text), untrusted=part.untrusted, stands_for=part.stands_for)
            await self.append([summary], usage, self.notes(model.answer, "summary") if model.answer else [])
            shown = self._course().shown()
        return shown

    def _course(self) -> Course:
        work = self.work
        before = (Message(role="system", content=work.instructions),) if work.instructions else ()
        return Course(before=before, history=work.history, asked=self.asked, entries=self.entries)


def room_of(work: Work) -> int:
    """How many tokens the model may be shown, so that its answer still fits behind them."""
    return max(work.window - work.config.max_tokens, work.window // 2)


class _NoSummaryError(Exception):
    def __init__(self, outcome: NoAnswer) -> None:
        self.outcome = outcome


class _Summariser:
    """The run's model, within the run's budgets, as the summary needs it."""

    def __init__(self, course: RunCourse) -> None:
        self._course = course
        self.answer: ModelAnswer | None = None

    async def complete(self, request: LLMRequest) -> LLMResponse:
        answer = await self._course._call(request)  # the same thing's other half
        if not isinstance(answer, Answered):
            raise _NoSummaryError(answer)
        self.answer = answer
        return answer.response
