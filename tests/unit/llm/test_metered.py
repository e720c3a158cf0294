"""Every model call is counted, with how it ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callboard.clock import ManualClock
from callboard.llm.errors import LLMServiceUnavailableError
from callboard.llm.metered import MeteredProvider
from callboard.llm.provider import LLMConfig, LLMRequest, Message
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.llm.script import ScriptRule

RULES = (
    ScriptRule(when="down", error="service_unavailable"),
    ScriptRule(when="broken", error="crash"),
    ScriptRule(say="one\ntwo\n"),
)
CONFIG = LLMConfig(provider="scripted", model_id="script", script=RULES)


def metered() -> tuple[MeteredProvider, list[tuple[str, str, str]]]:
    seen: list[tuple[str, str, str]] = []

    def observe(*, provider: str, model: str, status: str) -> None:
        seen.append((provider, model, status))

    return MeteredProvider(ScriptedProvider(CONFIG, ManualClock()), CONFIG, observe), seen


def asking(text: str) -> LLMRequest:
    return LLMRequest(messages=(Message(role="user", content=text),))


@pytest.mark.parametrize(
    ("text", "status", "raises"),
    [
        ("hello", "ok", None),
        ("down", LLMServiceUnavailableError("").code, LLMServiceUnavailableError),
        ("broken", "crash", RuntimeError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_is_counted_by_how_it_ended(
    text: str, status: str, raises: type[Exception] | None, *, streamed: bool
) -> None:
    provider, seen = metered()

    async def ask() -> str:
        if not streamed:
            return (await provider.complete(asking(text))).content
        return "".join([chunk.text async for chunk in provider.stream(asking(text))])

    if raises is None:
        assert await ask() == "one\ntwo\n"
    else:
        with pytest.raises(raises):
            await ask()
    assert seen == [("scripted", "script", status)]


async def test_a_stream_that_nobody_reads_to_its_end_is_abandoned() -> None:
    provider, seen = metered()
    chunks = provider.stream(asking("hello"))
    assert (await anext(aiter(chunks))).text == "one\n"
    await chunks.aclose()  # type: ignore[attr-defined]  # a generator, as every provider's stream
    assert seen == [("scripted", "script", "abandoned")]


def test_the_rest_is_the_models_own() -> None:
    provider, _ = metered()
    told: Callable[[int, int], float | None] = provider.get_cost
    assert told(1000, 1000) == 0.0
    assert provider.estimate_tokens(asking("12345678").messages) == 2
