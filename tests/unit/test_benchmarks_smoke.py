"""Every benchmark runs, small, so that they do not rot; how fast things are is for `python -m benchmarks` to say."""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import importlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import benchmarks
import orjson
import pytest
from benchmarks import (
    agent_files,
    memory,
    model_runs,
    model_waiting,
    runs,
    signed_load,
    slack_ack,
    start,
    streaming,
)
from benchmarks.__main__ import DISTRIBUTED, EMBEDDED, main
from benchmarks.child import SECRET
from benchmarks.peer_environment import PINS
from benchmarks.peers.counting import Counter
from benchmarks.process_tree import proportional_bytes, resident_bytes, tree
from benchmarks.rounds import Side, alternate, one_round
from benchmarks.state_payload import messages
from benchmarks.table import Row, quantile, render

FOLDER = Path(benchmarks.__file__).parent

# A side is a process that loads the model library; six of them in turn take 25 s of CPU, and four tests run at a time.
pytestmark = pytest.mark.timeout(240)


def assert_measured(rows: Sequence[Row]) -> None:
    """Of time any value will do, on whatever machine; memory is the same on all of them, and keeps its bound.

    What one thing adds to another may come out below nothing.
    """
    assert rows
    for row in rows:
        assert math.isfinite(row.measured), row
        assert row.unit != "MB" or row.within is not False, render([row], "over its bound")


@pytest.mark.slow
def test_the_benchmark_of_runs(tmp_path: Path) -> None:
    assert_measured(runs.measure(tmp_path, alone=20, sustained=64))


@pytest.mark.slow
def test_the_benchmark_of_slack_acks(tmp_path: Path) -> None:
    assert_measured(slack_ack.measure(tmp_path, seconds=1.5))


@pytest.mark.slow
def test_the_benchmark_of_the_start(tmp_path: Path) -> None:
    assert_measured(start.measure(tmp_path, starts=1))


@pytest.mark.slow
def test_the_benchmark_of_agent_files(tmp_path: Path) -> None:
    assert_measured(agent_files.measure(tmp_path, files=20, changes=1))


@pytest.mark.slow
def test_the_benchmark_of_memory(tmp_path: Path) -> None:
    assert_measured(memory.measure(tmp_path, conversations=5))


@pytest.mark.slow
def test_the_benchmark_of_model_calls(tmp_path: Path) -> None:
    assert_measured(model_runs.measure(tmp_path, rounds=1, count=32, peers=False))


@pytest.mark.slow
def test_the_benchmark_of_tool_calls(tmp_path: Path) -> None:
    assert_measured(model_runs.measure_tools(tmp_path, rounds=1, count=32, peers=False))


@pytest.mark.slow
def test_the_benchmark_of_runs_that_wait_for_a_model() -> None:
    assert_measured(model_waiting.measure(None, rounds=1, count=20))


@pytest.mark.slow
def test_the_benchmark_of_streaming(tmp_path: Path) -> None:
    assert_measured(streaming.measure(tmp_path, alone=4, crowded=10))


def test_a_quantile_is_a_measured_value_that_so_many_do_not_exceed() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert quantile([7.0], 0.99) == 7


def test_the_table_says_what_is_short() -> None:
    ceiling = Row(subject="a time", measured=20, unit="ms", bound=15)
    floor = Row(
        subject="a rate", measured=500, unit="/s", bound=1.6, floor=True, of_ratio=True, peer=250, peer_name="x"
    )
    assert (ceiling.within, floor.within, floor.ratio) == (False, True, 2)
    shown = render([ceiling, floor], "4 cores").splitlines()
    assert shown[0] == "4 cores"
    assert shown[-2].endswith("SHORT")
    assert shown[-1].endswith("kept")


def test_every_part_of_the_harness_can_be_loaded_without_servers_and_peers() -> None:
    for path in sorted([*FOLDER.glob("*.py"), *FOLDER.glob("sides/*.py")]):
        name = ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts)
        if path.stem != "__main__":
            importlib.import_module(name)
    assert compileall.compile_dir(FOLDER / "peers", quiet=2, force=True)


def test_the_peers_are_pinned_and_no_index_is_named() -> None:
    lines = PINS.read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), lines
    pinned = dict(line.split("==") for line in lines)
    wanted = {"aio-pika": "10.2", "celery": "5.7", "dramatiq": "2.2", "dbos": "3.4", "procrastinate": "3.10"}
    wanted |= {"slack_bolt": "1.30", "langgraph-checkpoint-postgres": "3.2", "openai-agents": "0.24"}
    assert {name: ".".join(pinned[name].split(".")[:2]) for name in wanted} == wanted


def test_an_unknown_subject_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speed"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in (*EMBEDDED, *DISTRIBUTED))


@pytest.mark.slow
def test_sides_are_measured_in_turn_and_their_medians_taken(tmp_path: Path) -> None:
    order: list[str] = []

    def side(name: str, *figures: float) -> Side:
        left = list(figures)

        def arguments() -> dict[str, float]:
            order.append(name)
            return {"figure": left.pop(0)}

        return Side(name=name, module="tests.unit.measured_side", arguments=arguments)

    found = alternate([side("ours", 1, 5, 3), side("peer", 2, 2, 9)], rounds=3)
    assert found == {"ours": {"figure": 3}, "peer": {"figure": 2}}
    assert order == ["ours", "peer"] * 3


@pytest.mark.slow
def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'figure'"):
        one_round(Side(name="ours", module="tests.unit.measured_side", arguments=dict))


async def test_the_generator_sends_each_request_once_and_waits_for_its_answer() -> None:
    found = await asyncio.wait_for(signed_load.capacity(signed_load.requests(200, SECRET)), 20)
    assert found.rate > 0
    assert 0 < found.median <= found.p99


async def test_the_generator_takes_nothing_but_a_200() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # a connection that had nothing to send
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        with pytest.raises(RuntimeError, match="503"):
            await signed_load.run(server.sockets[0].getsockname()[1], signed_load.requests(1, SECRET))


def test_memory_is_that_of_a_process_and_what_is_under_it() -> None:
    assert os.getpid() in tree(os.getpid())
    assert proportional_bytes(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 10_000_000


def test_a_conversation_has_its_size_and_is_another_in_each_version() -> None:
    for size in (2048, 100_000):
        assert size * 0.9 < len(orjson.dumps(messages(size, 1))) < size * 1.3
    assert messages(2048, 1) == messages(2048, 1) != messages(2048, 2)


def test_what_workers_count_is_seen_by_who_made_the_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHMARK_COUNTER", "")
    counter = Counter.made()
    try:
        Counter.inherited().one_more()
        Counter.inherited().one_more()
        assert counter.total() == 2
        counter.wait(2)
    finally:
        counter.close()
