"""Asking a model within the budgets, and waiting for one that is down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from callboard.agents.engine import (
    Answer,
    Asked,
    Busy,
    Failed,
    OverBudget,
    Paused,
    QuestionRules,
    Reservation,
    Succeeded,
    Unpriced,
)
from callboard.agents.engines.notes import model_notes
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
    LLMUnavailableEverywhereError,
)
from callboard.llm.provider import LLMChunk, LLMConfig, LLMRequest, LLMResponse, Message, PassedOver, ToolSpec
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal

REAL = LLMConfig(provider="openai", model_id="gpt-4o", max_tokens=100)
OVER = OverBudget(scope="agent", name="standup", limit_usd=1.0, spent_usd=0.9, needed_usd=0.2)


class Priced(ModelOf):
    """A dollar a thousand tokens read, two a thousand written."""

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return 50

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return input_tokens / 1000 + 2 * output_tokens / 1000


async def test_G4_the_worst_case_of_each_call_is_reserved_before_it() -> None:
    journal, model = MemoryJournal(Ledger()), Priced(calls("send", text="a"), says("done"))
    outcome = await ToolLoopEngine().execute(work(journal, model, tools=[Counter(idempotent=True)]))
    assert isinstance(outcome, Succeeded)
    assert [call for call, _ in journal.reserved] == [0, 1]
    assert [usd for _, usd in journal.reserved] == pytest.approx([0.25, 0.25])


async def test_a_model_that_costs_nothing_reserves_nothing() -> None:
    class Free(ModelOf):
        def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
            return 0.0

    journal = MemoryJournal(Ledger())
    await ToolLoopEngine().execute(work(journal, Free(says("done"))))
    assert journal.reserved == []


def _held(reservation: Reservation) -> MemoryJournal:
    journal = MemoryJournal(Ledger())
    journal.reservation = reservation
    return journal


async def test_G4_over_the_budget_people_are_asked_and_nothing_is_sent() -> None:
    model = Priced(says("done"))
    rules = QuestionRules(may_answer=("anna",))
    outcome = await ToolLoopEngine().execute(work(_held(OVER), model, questions=rules))
    assert isinstance(outcome, Asked)
    question = outcome.question
    assert (question.purpose, question.kind, question.options) == ("budget", "choice", ("+ $1", "stop"))
    assert question.details["scope"] == "agent"
    assert question.rules == rules
    assert model.requests == []


async def test_G4_one_dollar_more_that_is_not_enough_asks_once_more() -> None:
    answers = {"budget/agent/0": "+ $1"}
    outcome = await ToolLoopEngine().execute(work(_held(OVER), Priced(says("done")), answers=answers))
    assert isinstance(outcome, Asked)
    assert outcome.question.key == "budget/agent/1"


@pytest.mark.parametrize("answer", [Answer(value="stop"), Answer(value=None, status="expired")])
async def test_G4_a_no_or_no_answer_ends_the_run(answer: Answer) -> None:
    outcome = await ToolLoopEngine().execute(
        work(_held(OVER), Priced(says("done")), answers={"budget/agent/0": answer})
    )
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable) == ("budget_exceeded", False)


async def test_G4_what_others_have_reserved_is_waited_for() -> None:
    outcome = await ToolLoopEngine().execute(work(_held(Busy(seconds=2.0)), Priced(says("done"))))
    assert isinstance(outcome, Paused)
    assert (outcome.kind, outcome.seconds) == ("budget", 2.0)


async def test_a_model_of_unknown_price_is_refused_where_that_is_set() -> None:
    outcome = await ToolLoopEngine().execute(work(_held(Unpriced(budget=True)), Priced(says("done"))))
    assert isinstance(outcome, Failed)
    assert not outcome.retryable


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (LLMServiceUnavailableError("down"), 15.0),
        (LLMUnavailableEverywhereError("all down", retry_after=40.0), 40.0),
        (LLMRateLimitError("slow down", retry_after=90.0), 90.0),
    ],
)
async def test_G2_a_provider_that_may_come_back_is_waited_for_without_a_slot(
    error: LLMProviderError, seconds: float
) -> None:
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), ModelOf(error), config=REAL))
    assert isinstance(outcome, Paused)
    assert (outcome.kind, outcome.seconds, outcome.message) == ("provider", seconds, error.message)


async def test_G2_a_key_that_is_refused_is_not_waited_for() -> None:
    outcome = await ToolLoopEngine().execute(
        work(MemoryJournal(Ledger()), ModelOf(LLMAuthenticationError("bad key")), config=REAL)
    )
    assert isinstance(outcome, Failed)


class Heard:
    """What came, with None for the end of each call."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.pieces: list[str | None] = []
        self._wanted = wanted

    def begin(self) -> bool:
        return self._wanted

    async def __call__(self, text: str) -> None:
        self.pieces.append(text)

    async def done(self) -> None:
        self.pieces.append(None)


async def test_a_streamed_answer_is_told_piece_by_piece() -> None:
    class Streams(ModelOf):
        async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            for piece in ("It ", "is ", "warm."):
                yield LLMChunk(text=piece)
            yield LLMChunk(response=await self.complete(request))

    heard = Heard()
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), Streams(says("It is warm.")), on_text=heard))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == "It is warm."
    assert heard.pieces == ["It ", "is ", "warm.", None]


async def test_an_answer_that_nobody_wants_in_pieces_is_asked_for_as_a_whole() -> None:
    class NeverStreams(ModelOf):
        def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            raise AssertionError("nobody wants it in pieces")

    heard = Heard(wanted=False)
    model = NeverStreams(says("It is warm."))
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, on_text=heard))
    assert isinstance(outcome, Succeeded)
    assert heard.pieces == []


async def test_a_stream_without_an_end_is_no_answer() -> None:
    class Breaks(ModelOf):
        async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            yield LLMChunk(text="It ")

    heard = Heard()
    outcome = await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), Breaks(), on_text=heard))
    assert heard.pieces == ["It ", None]
    assert isinstance(outcome, Failed)
    assert outcome.code == "provider_unavailable"


async def test_each_model_call_leaves_a_line_with_what_it_took() -> None:
    journal = MemoryJournal(Ledger())
    answer: LLMResponse = says("a thought", *calls("send", text="x").tool_calls)
    model = ModelOf(answer, says("done"))
    outcome = await ToolLoopEngine().execute(work(journal, model, tools=[Counter()]))
    (first,) = [note.data for note in journal.notes if note.kind == "model_call"]
    assert (first["turn"], first["model"], first["input_tokens"], first["cost_usd"]) == (0, "m", 10, 0.5)
    assert first["thought"] == "a thought"
    assert [(note.kind, note.data["turn"]) for note in outcome.notes] == [("model_call", 1)]
    assert [note.kind for note in journal.notes] == ["model_call", "tool_call", "tool_result"]


async def test_a_model_that_another_one_stands_in_for_leaves_a_line_before_the_answer_that_costs_nothing() -> None:
    first = PassedOver(
        model="openai/first", code="rate_limited", reason="429: the key is hush " + "x" * 600, seconds_before=0.0
    )
    second = PassedOver(model="openai/second", code="provider_unavailable", reason="503", seconds_before=0.0)
    ledger = Ledger()
    journal = MemoryJournal(ledger)
    model = ModelOf(
        replace(calls("send", text="x"), passed_over=(first, second)), replace(says("done"), passed_over=(second,))
    )
    given = replace(
        work(journal, model, tools=[Counter(idempotent=True)]), redact=lambda text: text.replace("hush", "***")
    )
    outcome = await ToolLoopEngine().execute(given)
    assert [note.kind for note in journal.notes] == [
        "model_failed", "model_failed", "model_call", "tool_call", "tool_result",
    ]  # fmt: skip
    told, also, answered = (note.data for note in journal.notes[:3])
    assert (told["turn"], told["model"], told["code"]) == (0, "openai/first", "rate_limited")
    assert str(told["reason"]).startswith("429: the key is *** xxx")
    assert len(str(told["reason"])) <= 500
    assert (also["model"], also["reason"], answered["model"]) == ("openai/second", "503", "m")
    assert not {"cost_usd", "input_tokens", "output_tokens"} & {*told, *also}
    assert [(note.kind, note.data["turn"]) for note in outcome.notes] == [("model_failed", 1), ("model_call", 1)]
    assert (ledger.usage.model_calls, ledger.usage.cost_usd, outcome.usage.cost_usd) == (1, 0.5, 0.5)


def test_the_time_that_an_answer_took_is_shared_out_among_the_models_that_were_asked_for_it() -> None:
    passed = [PassedOver(model="a", code="x", reason="y", seconds_before=before) for before in (3.0, 1.0)]
    notes = model_notes(replace(says("hi"), passed_over=tuple(passed)), seconds=6.0, turn=0, redact=str)
    assert [note.data["duration_ms"] for note in notes] == [3000.0, 2000.0, 1000.0]
