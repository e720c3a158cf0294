"""Waiting for what other tasks and processes do, in place of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

Value = TypeVar("Value")


@overload
async def wait_until(predicate: Callable[[], Awaitable[Value]], what: str, *, within: float = 30.0) -> Value: ...
@overload
async def wait_until(predicate: Callable[[], Value], what: str, *, within: float = 30.0) -> Value: ...
async def wait_until(predicate: Callable[[], Any], what: str, *, within: float = 30.0) -> Any:
    """The first true answer of `predicate`, plain or async; after `within` seconds an AssertionError names `what`.

    An exception of the predicate is not swallowed: a predicate that may meet a missing thing says so itself.
    """
    deadline = time.monotonic() + within
    pause = 0.001
    while True:
        answer = predicate()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"still not so after {within:g} s: {what} (last answer: {value!r})")
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.05)


def wait_until_sync(predicate: Callable[[], Value], what: str, *, within: float = 30.0) -> Value:
    """`wait_until` for tests of processes that have no event loop of their own."""
    deadline = time.monotonic() + within
    pause = 0.001
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"still not so after {within:g} s: {what} (last answer: {value!r})")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


async def let_pass(seconds: float, what: str) -> None:
    """Real time, where a trial is about real time: how long an outage lasts, at which rate requests come.

    Never to wait for something to happen; `what` names what goes on meanwhile.
    """
    assert what
    await asyncio.sleep(seconds)
