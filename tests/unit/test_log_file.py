"""The copy of the logs on disk."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from callboard.log_file import FORGOTTEN_SECONDS, RotatedLogFile, forget_left_files
from callboard.logs import LogSettings, StructuredLogger, bind_trace, configure, read_log


def test_a_trace_is_read_back_over_rotated_files_in_order(tmp_path: Path) -> None:
    with configure(LogSettings(folder=tmp_path, max_bytes=2_000, backups=20), stream=io.StringIO()) as pipeline:
        log = StructuredLogger("pool")
        for number in range(60):
            with bind_trace("ab"[number % 2] * 32):
                log.info("line", number=number)
            pipeline.flush()
    assert len(list(tmp_path.iterdir())) > 3
    assert [line["number"] for line in read_log(tmp_path, "a" * 32)] == list(range(0, 60, 2))
    assert [line["number"] for line in read_log(tmp_path)] == list(range(60))


def test_files_stay_within_size_and_number(tmp_path: Path) -> None:
    file = RotatedLogFile(tmp_path, max_bytes=100, backups=2)
    for number in range(100):
        file.write(b"%08d\n" % number)
    file.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["callboard.log", "callboard.log.1", "callboard.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "callboard.log").read_bytes().endswith(b"00000099\n")


def test_without_backups_only_the_present_file_is_kept(tmp_path: Path) -> None:
    file = RotatedLogFile(tmp_path, max_bytes=10, backups=0)
    file.write(b"old line\n")
    file.write(b"new line\n")
    file.close()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new line\n"]


def test_a_torn_line_and_other_rubbish_are_passed_over(tmp_path: Path) -> None:
    good = {"trace_id": "a" * 32, "message": "good"}
    (tmp_path / "callboard.log").write_bytes(
        json.dumps(good).encode() + b"\n\xff\xfe\n[1]\nnull\n" + b'{"trace_id":"' + b"a" * 32
    )
    assert list(read_log(tmp_path, "a" * 32)) == [good]
    assert list(read_log(tmp_path)) == [good]


def test_a_line_that_only_mentions_a_trace_is_not_of_it(tmp_path: Path) -> None:
    (tmp_path / "callboard.log").write_text(json.dumps({"trace_id": "b" * 32, "message": "a" * 32}) + "\n")
    assert list(read_log(tmp_path, "a" * 32)) == []


def test_a_missing_folder_is_an_empty_log(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "nowhere", "a" * 32)) == []


def test_writing_goes_on_after_a_restart_where_it_ended(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        file = RotatedLogFile(tmp_path, max_bytes=100, backups=1)
        file.write(line)
        file.close()
    assert (tmp_path / "callboard.log").read_bytes() == b"one\ntwo\n"


def test_a_disk_that_refuses_loses_the_copy_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    stream = io.StringIO()
    with configure(LogSettings(folder=tmp_path / "logs"), stream=stream):
        StructuredLogger("pool").info("still on stdout")
    assert json.loads(stream.getvalue())["message"] == "still on stdout"


def test_the_logs_of_several_processes_in_one_folder_are_read_as_one(tmp_path: Path) -> None:
    def line(second: int, component: str) -> str:
        return json.dumps({"timestamp": f"2026-01-01T00:00:{second:02}Z", "component": component, "trace_id": "t"})

    (tmp_path / "api.host.1.log.1").write_text(line(1, "api") + "\n")
    (tmp_path / "api.host.1.log").write_text(line(4, "api") + "\n")
    (tmp_path / "event-bus.host.1.log").write_text(line(2, "event-bus") + "\n" + line(5, "event-bus") + "\n")
    (tmp_path / "api.host.2.log").write_text(line(3, "api") + "\n")
    assert [record["timestamp"][-3:-1] for record in read_log(tmp_path)] == ["01", "02", "03", "04", "05"]


def test_what_a_process_that_is_long_gone_has_left_behind_is_deleted(tmp_path: Path) -> None:
    old, new, other = tmp_path / "api.a.1.log.2", tmp_path / "api.b.1.log", tmp_path / "notes.txt"
    for path in (old, new, other):
        path.write_text("{}\n")
    now = new.stat().st_mtime
    for path in (old, other):
        os.utime(path, (now - FORGOTTEN_SECONDS - 1,) * 2)
    forget_left_files(tmp_path, now)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.b.1.log", "notes.txt"]
