"""Models that stand in for one another, and the guards before them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from callboard.clock import ManualClock
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMHeldBackError,
    LLMInvalidRequestError,
    LLMModelNotFoundError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
    LLMUnavailableEverywhereError,
)
from callboard.llm.fallback import FallbackProvider
from callboard.llm.guard_name import model_name, server_name
from callboard.llm.provider import LLMConfig, LLMResponse
from callboard.llm.rate_limiter import RateLimits
from callboard.llm.script import ScriptRule
from callboard.llm.streaming import chunks_of
from tests.support.guarded_models import HELLO, ModelInHand, SharedInMemory, guarded, worker
from tests.support.waiting import wait_until

DOWN = LLMServiceUnavailableError("503")


class Pair:
    """A first model and the one that stands in for it, in one worker."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.shared = SharedInMemory(self.clock)
        self.protection = worker(self.shared, self.clock)
        self.first, self.second = ModelInHand("first"), ModelInHand("second")
        self.guards = [guarded(model, self.protection, self.clock) for model in (self.first, self.second)]
        self.model = FallbackProvider(self.guards, self.clock)

    async def later(self, seconds: float) -> None:
        """After everybody has done what can be done now."""
        for _ in range(200):
            await asyncio.sleep(0)
        await self.clock.advance(seconds)


@pytest.fixture
def pair() -> Pair:
    return Pair()


async def test_G2_the_first_model_answers_while_it_is_there(pair: Pair) -> None:
    response = await pair.model.complete(HELLO)
    assert (response.model, response.metadata["fallback"]) == ("first", "0")
    assert pair.second.calls == 0


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        LLMRateLimitError("429", retry_after=3.0),
        LLMAuthenticationError("401"),
        LLMModelNotFoundError("404"),
    ],
)
async def test_G2_another_model_answers_where_the_first_cannot(pair: Pair, error: LLMProviderError) -> None:
    pair.first.error = error
    response = await pair.model.complete(HELLO)
    assert (response.model, response.metadata["fallback"]) == ("second", "1")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_the_answer_of_another_model_says_which_was_asked_before_it_and_why_that_did_not_answer(
    pair: Pair, streamed: bool
) -> None:
    async def answer() -> LLMResponse:
        if not streamed:
            return await pair.model.complete(HELLO)
        async with chunks_of(pair.model, HELLO) as chunks:
            (response,) = [chunk.response async for chunk in chunks if chunk.response is not None]
        return response

    pair.first.error, pair.first.hold = DOWN, asyncio.Event()
    asked = asyncio.create_task(answer())
    pair.second.hold = asyncio.Event()
    await pair.first.asked.wait()
    pair.first.hold.set()
    await pair.second.asked.wait()
    await pair.clock.advance(7)
    pair.second.hold.set()
    (failed,) = (await asked).passed_over
    assert (failed.model, failed.code, failed.reason) == ("openai@first.example/first", "provider_unavailable", "503")
    assert failed.seconds_before == pytest.approx(7)
    pair.first.error = None
    await pair.clock.advance(20)
    assert (await answer()).passed_over == ()


async def test_a_request_that_is_wrong_is_not_put_to_another_model(pair: Pair) -> None:
    pair.first.error = LLMInvalidRequestError("400")
    with pytest.raises(LLMInvalidRequestError):
        await pair.model.complete(HELLO)
    assert pair.second.calls == 0


async def test_G2_a_provider_that_failed_five_times_is_not_asked_until_its_time_is_over(pair: Pair) -> None:
    pair.first.error = DOWN
    for _ in range(8):
        assert (await pair.model.complete(HELLO)).model == "second"
    assert pair.first.calls == 5

    pair.first.error = None
    await pair.clock.advance(11)
    assert (await pair.model.complete(HELLO)).model == "first"
    assert (await pair.model.complete(HELLO)).model == "first"


async def test_a_model_that_asks_for_time_gets_it(pair: Pair) -> None:
    pair.first.error = LLMRateLimitError("429", retry_after=30.0)
    await pair.model.complete(HELLO)
    pair.first.error = None
    await pair.clock.advance(29)
    assert (await pair.model.complete(HELLO)).model == "second"
    assert pair.first.calls == 1
    await pair.clock.advance(2)
    assert (await pair.model.complete(HELLO)).model == "first"


async def test_G2_with_every_model_down_the_caller_is_told_when_to_come_again(pair: Pair) -> None:
    pair.first.error = pair.second.error = DOWN
    with pytest.raises(LLMUnavailableEverywhereError) as soon:
        await pair.model.complete(HELLO)
    assert 0 < (soon.value.retry_after or 0) <= 2
    for _ in range(4):
        with pytest.raises(LLMUnavailableEverywhereError):
            await pair.model.complete(HELLO)
    with pytest.raises(LLMUnavailableEverywhereError) as later:
        await pair.model.complete(HELLO)
    assert (later.value.retry_after or 0) >= 10
    assert (pair.first.calls, pair.second.calls) == (5, 5)


async def test_a_provider_that_says_when_it_will_be_back_is_not_asked_before(pair: Pair) -> None:
    pair.first.error = LLMServiceUnavailableError("503", retry_after=30.0)
    pair.second.error = LLMAuthenticationError("401")
    with pytest.raises(LLMUnavailableEverywhereError) as told:
        await pair.model.complete(HELLO)
    assert told.value.retry_after is not None
    assert told.value.retry_after >= 30
    await pair.clock.advance(29)
    with pytest.raises(LLMRateLimitError):
        await pair.model.complete(HELLO)
    assert pair.first.calls == 1


async def test_with_only_limits_in_the_way_the_shorter_one_is_told(pair: Pair) -> None:
    pair.first.error = LLMRateLimitError("429", retry_after=60.0)
    pair.second.error = LLMRateLimitError("429", retry_after=7.0)
    with pytest.raises(LLMRateLimitError) as told:
        await pair.model.complete(HELLO)
    assert told.value.retry_after == 7.0


async def test_where_waiting_would_not_help_the_first_models_own_error_is_told(pair: Pair) -> None:
    pair.first.error = LLMAuthenticationError("the first's key is wrong")
    pair.second.error = LLMModelNotFoundError("no such second")
    with pytest.raises(LLMAuthenticationError, match="the first's key"):
        await pair.model.complete(HELLO)


async def test_a_key_that_was_refused_is_not_tried_again_at_once(pair: Pair) -> None:
    pair.first.error = LLMAuthenticationError("401")
    for _ in range(10):
        await pair.model.complete(HELLO)
    assert pair.first.calls == 1
    await pair.clock.advance(31)
    await pair.model.complete(HELLO)
    assert pair.first.calls == 2


async def test_a_stream_that_has_not_begun_goes_to_the_next_model(pair: Pair) -> None:
    pair.first.error = DOWN
    chunks = [chunk async for chunk in pair.model.stream(HELLO)]
    response = chunks[-1].response
    assert response is not None
    assert (response.model, response.metadata["fallback"]) == ("second", "1")
    assert "".join(chunk.text for chunk in chunks) == response.content


async def test_a_stream_that_broke_after_its_first_pieces_is_not_begun_anew_elsewhere(pair: Pair) -> None:
    pair.first.error, pair.first.breaks_after = DOWN, 1
    stream = pair.model.stream(HELLO)
    assert (await anext(stream)).text == "one "
    with pytest.raises(LLMUnavailableEverywhereError) as broken:
        await anext(stream)
    assert pair.second.calls == 0
    assert 0 < (broken.value.retry_after or 0) <= 2


async def test_a_stream_that_its_reader_leaves_ends_at_once_and_says_nothing_about_the_provider(pair: Pair) -> None:
    async with chunks_of(pair.model, HELLO) as chunks:
        assert (await anext(chunks)).text == "one "
    assert pair.first.streams_ended == 1
    assert pair.shared.changes == 0


async def test_a_state_that_was_written_before_the_clock_was_set_back_is_not_believed(pair: Pair) -> None:
    pair.first.error = DOWN
    for _ in range(5):
        await pair.model.complete(HELLO)
    pair.first.error = None
    pair.clock.set_wall(pair.clock.now() - timedelta(days=1))
    assert (await pair.model.complete(HELLO)).model == "first"


async def test_G2_one_probe_looks_whether_the_provider_is_back_while_all_others_wait(pair: Pair) -> None:
    model, clock = pair.guards[0], pair.clock
    pair.first.error = DOWN
    for _ in range(5):
        with pytest.raises(LLMServiceUnavailableError):
            await model.complete(HELLO)
    await clock.advance(11)
    pair.first.error, pair.first.hold = None, asyncio.Event()
    pair.first.asked.clear()
    probe = asyncio.ensure_future(model.complete(HELLO))
    await pair.first.asked.wait()
    for _ in range(20):
        with pytest.raises(LLMHeldBackError):
            await model.complete(HELLO)
    assert pair.first.calls == 6
    pair.first.hold.set()
    assert (await probe).model == "first"
    assert (await model.complete(HELLO)).model == "first"


async def test_a_probe_that_is_cancelled_lets_the_next_call_look(pair: Pair) -> None:
    model = pair.guards[0]
    pair.first.error = DOWN
    for _ in range(5):
        with pytest.raises(LLMServiceUnavailableError):
            await model.complete(HELLO)
    await pair.clock.advance(11)
    pair.first.error, pair.first.hold = None, asyncio.Event()
    pair.first.asked.clear()
    probe = asyncio.ensure_future(model.complete(HELLO))
    await pair.first.asked.wait()
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    pair.first.hold = None
    assert (await model.complete(HELLO)).model == "first"


async def test_the_probes_answer_is_told_so_that_waiting_runs_are_woken() -> None:
    clock = ManualClock()
    told: list[str] = []

    async def closed(server: str) -> None:
        told.append(server)

    only = ModelInHand("only", error=DOWN)
    model = guarded(only, worker(SharedInMemory(clock), clock, closed=closed), clock)
    for _ in range(5):
        with pytest.raises(LLMServiceUnavailableError):
            await model.complete(HELLO)
    await clock.advance(11)
    only.error = None
    await model.complete(HELLO)
    await model.complete(HELLO)
    assert told == ["openai@only.example"]


async def test_without_failures_and_limits_a_call_costs_nothing_but_one_reading_a_second(pair: Pair) -> None:
    for _ in range(100):
        await pair.model.complete(HELLO)
    assert (pair.shared.loads, pair.shared.changes) == (1, 0)
    await pair.clock.advance(1)
    await asyncio.gather(*(pair.model.complete(HELLO) for _ in range(100)))
    assert (pair.shared.loads, pair.shared.changes) == (2, 0)


async def test_a_provider_that_goes_down_under_many_calls_is_told_in_few_writes(pair: Pair) -> None:
    pair.first.hold = asyncio.Event()
    calls = [asyncio.ensure_future(pair.guards[0].complete(HELLO)) for _ in range(200)]
    await wait_until(lambda: pair.first.calls == 200, "all calls are under way")
    pair.first.error = DOWN
    pair.first.hold.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, LLMServiceUnavailableError) for outcome in outcomes)
    assert pair.shared.changes < 10
    with pytest.raises(LLMHeldBackError):
        await pair.guards[0].complete(HELLO)


async def test_with_the_database_away_each_worker_decides_for_itself(pair: Pair) -> None:
    pair.shared.away = True
    pair.first.error = DOWN
    for _ in range(8):
        assert (await pair.model.complete(HELLO)).model == "second"
    assert pair.first.calls == 5
    await pair.clock.advance(2)  # it is back, and knows nothing of this
    pair.shared.away = False
    assert (await pair.model.complete(HELLO)).model == "second"
    assert pair.first.calls == 5
    pair.first.error = None
    await pair.clock.advance(10)
    assert (await pair.model.complete(HELLO)).model == "first"


async def test_calls_wait_for_their_place_in_the_minute_and_are_refused_where_that_takes_too_long(pair: Pair) -> None:
    pair.protection.set_limits({"openai": RateLimits(requests_per_minute=60)})
    begun = [asyncio.ensure_future(pair.guards[0].complete(HELLO)) for _ in range(40)]
    for _ in range(70):
        await pair.later(1)
    answers = await asyncio.gather(*begun, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, LLMRateLimitError)]
    assert pair.first.calls == len(answers) - len(refused)
    assert 6 <= pair.first.calls <= 30
    assert all(error.retry_after is not None and error.retry_after > 0 for error in refused)


async def test_tokens_that_a_call_did_not_use_are_there_for_the_next(pair: Pair) -> None:
    pair.protection.set_limits({"openai": RateLimits(tokens_per_minute=2000)})
    # Each call may take 105 of the 200 that may go at once, and takes 10.
    for _ in range(5):
        await pair.guards[0].complete(HELLO)
    assert pair.first.calls == 5


def test_a_provider_is_known_by_its_address_without_what_is_secret_in_it() -> None:
    config = LLMConfig(provider="openai", model_id="gpt", base_url="https://user:secret@Proxy.example:8443/v1?key=s")
    assert server_name(config) == "openai@proxy.example:8443"
    assert model_name(config) == "openai@proxy.example:8443/gpt"
    assert server_name(LLMConfig(provider="anthropic", model_id="claude")) == "anthropic"
    assert "KEY" not in server_name(LLMConfig(provider="openai", model_id="m", base_url="${env:MY_KEY_URL}"))
    assert len(model_name(LLMConfig(provider="openai", model_id="m" * 300))) <= 200


def test_each_script_plays_a_provider_of_its_own() -> None:
    one = LLMConfig(provider="scripted", model_id="script", script=(ScriptRule(say="a"),))
    other = LLMConfig(provider="scripted", model_id="script", script=(ScriptRule(say="b"),))
    assert server_name(one) != server_name(other)
