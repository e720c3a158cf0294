"""The guards of the suite itself: each must be able to fail a test."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from tests.support.leaks import connections, left_open, left_over, started_since
from tests.support.loop_watch import LoopBlockedError, loop_stays_free
from tests.support.network import BlockedConnectionError, is_local, only_this_machine
from tests.support.waiting import wait_until, wait_until_sync


def test_a_connection_to_another_machine_is_refused_and_noted() -> None:
    tried: list[str] = []
    with (
        only_this_machine(tried),
        socket.socket() as sock,
        pytest.raises(BlockedConnectionError, match=r"192\.0\.2\.1"),
    ):
        sock.connect(("192.0.2.1", 80))
    assert tried == ["192.0.2.1:80"]


def test_looking_up_a_name_of_another_machine_is_refused() -> None:
    tried: list[str] = []
    with only_this_machine(tried), pytest.raises(BlockedConnectionError, match=r"slack\.com"):
        socket.getaddrinfo("slack.com", 443)
    assert len(tried) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", None, b"localhost", "0.0.0.0"])  # noqa: S104
def test_this_machine_is_local(host: object) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "slack.com", "2001:db8::1", "127.0.0.1.example.com"])
def test_other_machines_are_not_local(host: object) -> None:
    assert not is_local(host)


@pytest.mark.slow
async def test_a_task_that_goes_on_is_found() -> None:
    before = asyncio.all_tasks()
    forgotten = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    assert [task.get_name() for task in await left_over(before)] == ["forgotten"]
    await asyncio.wait({forgotten})


@pytest.mark.slow
async def test_a_connection_that_stays_open_is_found_with_who_holds_it() -> None:
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, start_serving=True
    ) as server:
        port = server.sockets[0].getsockname()[1]
        before = connections()
        _, kept = await asyncio.open_connection("127.0.0.1", port, limit=1)
        (left,) = await left_open(before)
        assert f"to ('127.0.0.1', {port}) of <asyncio.streams.StreamReaderProtocol" in left
        assert kept.is_closing()
        assert await left_open(before) == []


@pytest.mark.slow
def test_a_thread_that_goes_on_is_found() -> None:
    before, end = set(threading.enumerate()), threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    try:
        assert [left.name for left in started_since(before)] == ["forgotten"]
    finally:
        end.set()
        thread.join()


@pytest.mark.slow
async def test_a_blocked_event_loop_is_found_with_the_place_where_it_stood() -> None:
    with pytest.raises(LoopBlockedError, match=r"time\.sleep"):
        async with loop_stays_free(0.1):
            time.sleep(0.3)  # noqa: ASYNC251 - this is what is to be found


async def test_a_loop_that_turns_is_free() -> None:
    async with loop_stays_free(5.0):
        await asyncio.sleep(0)


async def test_waiting_names_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match="the moon is full"):
        await wait_until(lambda: False, "the moon is full", within=0.01)
    with pytest.raises(AssertionError, match="the moon is full"):
        wait_until_sync(lambda: False, "the moon is full", within=0.01)


async def test_waiting_gives_the_first_true_answer_of_a_plain_or_async_predicate() -> None:
    answers = iter([0, None, 3])

    async def later() -> str:
        return "yes"

    assert await wait_until(lambda: next(answers), "an answer") == 3
    assert await wait_until(later, "an answer") == "yes"
