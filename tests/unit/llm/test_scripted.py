"""The scripted model: what an agent file's rules make it say, call, ask, wait for and fail with."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.clock import ManualClock
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMInvalidRequestError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.placeholders import fill
from callboard.llm.provider import LLMConfig, LLMRequest, LLMResponse, Message, PlanMember, PlanRequest, ToolCall
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.llm.script import ScriptAsk, ScriptCall, ScriptError, ScriptRule


def scripted(*rules: ScriptRule, clock: ManualClock | None = None) -> ScriptedProvider:
    config = LLMConfig(provider="scripted", model_id="script", script=rules)
    return ScriptedProvider(config, clock or ManualClock())


def said(text: str, *after: Message, turn: int = 1) -> LLMRequest:
    before = (Message(role="system", content="You rain."), Message(role="user", content="weather"))
    return LLMRequest(messages=(*before, Message(role="user", content=text), *after), turn=turn)


def called(call: ToolCall, result: str) -> tuple[Message, Message]:
    return (
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content=result, tool_call_id=call.id),
    )


async def test_echo_answers_with_the_last_input_unchanged() -> None:
    provider = ScriptedProvider(LLMConfig(provider="scripted", model_id="echo"), ManualClock())
    for text in ("{input} {turn} {0} %s ${input}", "  two\nlines\t", "ünï\x1b[31m"):
        assert (await provider.complete(said(text))).content == text


async def test_the_first_rule_that_is_found_in_the_last_message_acts() -> None:
    provider = scripted(
        ScriptRule(when="^rain", say="no"),
        ScriptRule(when="weather|rain", say="It rains."),
        ScriptRule(say="turn {turn}: {input}"),
    )
    assert (await provider.complete(said("will it rain?"))).content == "It rains."
    assert (await provider.complete(said("hello", turn=3))).content == "turn 3: hello"


async def test_no_rule_that_fits_is_an_error_with_the_way_out() -> None:
    with pytest.raises(LLMInvalidRequestError, match="add a last rule without 'when'"):
        await scripted(ScriptRule(when="weather", say="x")).complete(said("hello"))


async def test_a_rule_asks_then_calls_then_says_one_a_model_call() -> None:
    rule = ScriptRule(
        ask=ScriptAsk(question="{input}: which city?", options=("Berlin", "Paris")),
        call=ScriptCall(tool="http_get", args={"url": "https://x/{answer}", "deep": [{"a": "{turn}"}], "n": 1}),
        say="{answer}: {result}",
    )
    provider = scripted(rule)
    first = await provider.complete(said("trip"))
    assert first.finish_reason == "tool_calls"
    assert first.tool_calls[0].name == "ask_human"
    assert first.tool_calls[0].arguments == {
        "question": "trip: which city?",
        "kind": "choice",
        "options": ["Berlin", "Paris"],
    }
    exchange = called(first.tool_calls[0], "Paris")
    second = await provider.complete(said("trip", *exchange))
    assert second.tool_calls[0].arguments == {"url": "https://x/Paris", "deep": [{"a": "1"}], "n": 1}
    third = await provider.complete(said("trip", *exchange, *called(second.tool_calls[0], "sunny")))
    assert third.content == "Paris: sunny"
    assert not third.tool_calls


@pytest.mark.parametrize(
    ("rule", "result", "answer"),
    [
        (ScriptRule(ask=ScriptAsk(question="?")), "Paris {turn}", "Paris {turn}"),
        (ScriptRule(call=ScriptCall(tool="t")), "sunny", "sunny"),
    ],
)
async def test_a_rule_without_say_says_what_it_got(rule: ScriptRule, result: str, answer: str) -> None:
    provider = scripted(rule)
    first = await provider.complete(said("x"))
    assert (await provider.complete(said("x", *called(first.tool_calls[0], result)))).content == answer


async def test_a_rule_waits_by_the_clock_once_and_not_again_after_its_call() -> None:
    clock = ManualClock()
    provider = scripted(ScriptRule(wait_seconds=2, call=ScriptCall(tool="t"), say="done"), clock=clock)
    waiting = asyncio.create_task(provider.complete(said("slow")))
    await clock.advance(1.9)
    assert not waiting.done()
    await clock.advance(0.2)
    response = await waiting
    assert (await provider.complete(said("slow", *called(response.tool_calls[0], "r")))).content == "done"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("rate_limit", LLMRateLimitError),
        ("service_unavailable", LLMServiceUnavailableError),
        ("authentication", LLMAuthenticationError),
        ("invalid_request", LLMInvalidRequestError),
        ("crash", RuntimeError),
    ],
)
async def test_a_rule_fails_as_it_is_told(error: ScriptError, raised: type[Exception]) -> None:
    with pytest.raises(raised) as caught:
        await scripted(ScriptRule(error=error, retry_after_seconds=3)).complete(said("boom"))
    if isinstance(caught.value, LLMRateLimitError):
        assert caught.value.retry_after == 3


async def test_tokens_are_estimated_and_the_cost_is_nothing() -> None:
    response = await scripted(ScriptRule(say="12345678")).complete(said("1234"))
    assert (response.input_tokens, response.output_tokens, response.cost_usd) == (3 + 2 + 1, 2, 0.0)


@given(st.text(alphabet="{}inputrslawe$turn%"), st.text(alphabet="{}inputrslawe$turn%"))
def test_what_is_filled_in_is_never_filled_again(text: str, value: str) -> None:
    assert fill("{input}", {"input": value, "turn": "7"}) == value
    assert fill(f"<{value}>", {}) == f"<{value}>"
    assert fill(text, {"input": value}) == text.replace("${input}", "\0").replace("{input}", value).replace(
        "\0", "${input}"
    )


async def plan_of(provider: ScriptedProvider, *, max_steps: int = 12, goal: str = 'say "hi"\n') -> LLMResponse:
    members = (PlanMember(name="researcher"), PlanMember(name="analyst"), PlanMember(name="writer"))
    plan = PlanRequest(goal=goal, members=members, max_steps=max_steps)
    return await provider.complete(LLMRequest(messages=(Message(role="user", content="Make a plan."),), plan=plan))


async def test_the_default_plan_is_a_step_a_member_each_after_the_one_before() -> None:
    for provider in (
        ScriptedProvider(LLMConfig(provider="scripted", model_id="echo"), ManualClock()),
        scripted(ScriptRule(when="plan", say="not this"), ScriptRule(say="{input}")),
    ):
        steps = json.loads((await plan_of(provider)).content)["steps"]
        assert [(step["id"], step["agent"], step["depends_on"]) for step in steps] == [
            ("researcher", "researcher", []),
            ("analyst", "analyst", ["researcher"]),
            ("writer", "writer", ["analyst"]),
        ]
        assert steps[0]["input"] == "${input}"
        assert steps[1]["input"] == "${input}\n\n${step.researcher.output}"
        assert len(json.loads((await plan_of(provider, max_steps=2)).content)["steps"]) == 2


async def test_a_rule_may_hold_the_plan_with_the_goal_filled_in_as_json() -> None:
    plan = '{"steps": [{"id": "a", "agent": "writer", "input": "${input} / {input}"}]}'
    provider = scripted(ScriptRule(say="talk"), ScriptRule(when="hi", say=plan))
    steps = json.loads((await plan_of(provider)).content)["steps"]
    assert steps[0]["input"] == '${input} / say "hi"\n'
    assert len(json.loads((await plan_of(provider, goal="other")).content)["steps"]) == 3


async def test_a_rule_may_make_planning_fail() -> None:
    with pytest.raises(LLMServiceUnavailableError):
        await plan_of(scripted(ScriptRule(when="hi", error="service_unavailable"), ScriptRule(say="x")))


def test_an_unknown_model_of_the_scripted_provider_is_refused() -> None:
    with pytest.raises(LLMInvalidRequestError, match="write echo or script"):
        ScriptedProvider(LLMConfig(provider="scripted", model_id="gpt"), ManualClock())
