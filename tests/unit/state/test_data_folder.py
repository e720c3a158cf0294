"""A data folder has one owner at a time, and the next one knows that the former is gone (R15)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from callboard.errors import ConflictError, UnavailableError
from callboard.state.data_folder import LOCK_FILE, DataFolder
from tests.support.processes import child

HOLDS = """
import sys, pathlib, time
from callboard.state.data_folder import DataFolder
with DataFolder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_folder_is_made_and_held(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "a" / "b") as folder:
        assert folder.database == tmp_path / "a" / "b" / "callboard.db"
        assert str(os.getpid()) in (folder.path / LOCK_FILE).read_text()


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with DataFolder(tmp_path), pytest.raises(ConflictError, match=f"process {os.getpid()}") as refused:
        DataFolder(tmp_path).__enter__()
    assert refused.value.code == "data_folder_in_use"
    assert "--data" in refused.value.message


def test_it_is_free_again_after_its_owner(tmp_path: Path) -> None:
    for _ in range(2):
        with DataFolder(tmp_path):
            pass


@pytest.mark.slow
def test_it_is_free_again_after_its_owner_was_killed(tmp_path: Path) -> None:
    with child("-c", HOLDS, str(tmp_path)) as holder:
        holder.wait_for("held")
        with pytest.raises(ConflictError, match=f"process {holder.pid}"):
            DataFolder(tmp_path).__enter__()
        holder.send(signal.SIGKILL)
        holder.exit_code()
        with DataFolder(tmp_path):
            assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()


def test_a_lock_file_that_says_nothing_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b"\xff not json")
    with DataFolder(tmp_path):
        pass


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot be used"):
        DataFolder(tmp_path / "file" / "data").__enter__()
