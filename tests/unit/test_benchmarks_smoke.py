"""Every benchmark runs, small, and keeps five times its bound: so they do not rot, and nothing gets slow unseen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import agent_files, memory, runs, slack_ack, start
from benchmarks.table import Row, quantile, render

TOLERANCE = 5


def assert_kept(rows: Sequence[Row]) -> None:
    """A ratio to a peer that was measured small says nothing; the bounds in seconds and bytes do."""
    for row in rows:
        if row.bound is None or row.of_ratio:
            continue
        kept = row.measured * TOLERANCE >= row.bound if row.floor else row.measured <= row.bound * TOLERANCE
        assert kept, render([row], "over five times its bound")


@pytest.mark.slow
def test_the_benchmark_of_runs(tmp_path: Path) -> None:
    rows = runs.measure(tmp_path, alone=20, sustained=64)
    assert_kept(rows)
    assert all(row.measured > 0 for row in rows)


@pytest.mark.slow
def test_the_benchmark_of_slack_acks(tmp_path: Path) -> None:
    assert_kept(slack_ack.measure(tmp_path, seconds=1.5))


@pytest.mark.slow
def test_the_benchmark_of_the_start(tmp_path: Path) -> None:
    assert_kept(start.measure(tmp_path, starts=1))


@pytest.mark.slow
def test_the_benchmark_of_agent_files(tmp_path: Path) -> None:
    assert_kept(agent_files.measure(tmp_path, files=20, changes=1))


@pytest.mark.slow
def test_the_benchmark_of_memory(tmp_path: Path) -> None:
    assert_kept(memory.measure(tmp_path, conversations=5))


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
