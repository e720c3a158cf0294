"""Regular expressions from agent files over text from anybody."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.llm.pattern_search import MAX_SEARCHED_CHARS, PatternSearch, PatternTooSlowError, is_cheap
from tests.support.loop_watch import loop_stays_free


@pytest.mark.parametrize(
    "pattern",
    [
        "weather",
        "ask me",
        "^boom$",
        "a|b",
        r"(?i)hello\b",
        "colou?r",
        r"\d+ days",
        "[*+]",
        "remember .*",
        "(please )?do",
    ],
)
def test_what_people_write_is_searched_in_place(pattern: str) -> None:
    assert is_cheap(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*b",
        "(a*)*",
        ".*.*x",
        "(?:x+x+)+y",
        "(a?){30}a{30}",
        "a?a?a?a?a?aaaaa",
        r"(a*)\1b",
        "(?<=a)b+",
        "((a?)?(b?)?)+",
    ],
)
def test_what_may_explode_is_not(pattern: str) -> None:
    assert not is_cheap(pattern)


@pytest.mark.slow
async def test_H15_a_pattern_that_explodes_is_ended_and_the_loop_goes_on() -> None:
    search = asyncio.create_task(PatternSearch().found("(a+)+$", "a" * 40 + "!"))
    async with loop_stays_free(5.0):
        await asyncio.wait({search})
    with pytest.raises(PatternTooSlowError):
        await search


@pytest.mark.slow
@pytest.mark.parametrize(("text", "found"), [("x then y", True), ("nothing", False), ("x\udcff y\x00", True)])
async def test_a_risky_pattern_finds_what_re_finds(text: str, found: bool) -> None:
    assert await PatternSearch().found("(x.*)+y|\x00.*\x00.*", text) is found


async def test_only_the_beginning_of_a_long_message_is_searched() -> None:
    search = PatternSearch()
    assert await search.found("end", "x" * (MAX_SEARCHED_CHARS - 3) + "end")
    assert not await search.found("end", "x" * (MAX_SEARCHED_CHARS - 2) + "end")


@given(st.text(alphabet="ab*+?(|)[]{1}\\.^$", max_size=12))
def test_every_cheap_pattern_ends_soon_on_hostile_text(pattern: str) -> None:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, FutureWarning):
        return
    if is_cheap(pattern):
        begun = time.process_time()
        compiled.search("ab" * 500 + "a" * 1000)
        assert time.process_time() - begun < 1.0
