"""What the command line writes where: pipes, other encodings, a full disk; and what it is given that is no text."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.cli.main import run_cli
from callboard.cli.output import print_table
from callboard.cli.run_view import how_to_answer, print_run

QUESTION = {"clarification_id": "q1", "purpose": "question", "kind": "input", "options": []}
RECORD = {
    "run_id": "r1",
    "task_id": "r1",
    "root_run_id": "r1",
    "trace_id": "t1",
    "agent": "tour",
    "status": "waiting",
    "dry": False,
    "failures": 0,
    "actor": {"kind": "user", "id": "U1", "team": "T1", "via": "slack"},
    "usage": {"input_tokens": 3, "output_tokens": 4},
    "waiting_for": {"kind": "steps", "id": None, "since": "2026-01-01T00:00:00Z"},
    "error": {"code": "late", "message": "too late"},
    "clarifications": [
        {
            **QUESTION,
            "question": "Where to?",
            "status": "answered",
            "answer": {"approved": False, "reason": "no"},
            "answered_by": "anna",
        }
    ],
    "plan": {
        "steps": [
            {"id": "look", "agent": "scout", "depends_on": [], "status": "succeeded", "run_id": "r2", "error": None},
            {
                "id": "each",
                "agent": "scout",
                "depends_on": ["look"],
                "status": "running",
                "run_id": None,
                "error": None,
                "items": [{"status": "succeeded", "run_id": "r3"}, {"status": "running", "run_id": "r4"}],
            },
        ]
    },
    "steps": [
        {"run_id": "r2", "step_id": "look", "agent": "scout", "status": "succeeded", "finished_at": None},
        {"run_id": "r3", "step_id": "each[0]", "agent": "scout", "status": "succeeded", "finished_at": None},
    ],
    "deliveries": [{"kind": "failure", "channel": "C1", "status": "sent", "attempt": 1, "error": None}],
}


@pytest.mark.parametrize("typed", [("agnets",), ("run_", "x"), ("clarification", "list")])
def test_a_command_that_is_none_is_told_the_nearest(typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(typed) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_a_table_in_a_pipe_has_a_line_a_row_and_no_spaces_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": "word " * 200, "b": ""}, {"a": "x", "b": "y"}], {"a": "A", "b": "B"}, empty="")
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 4
    assert lines[1] == ("word " * 200).rstrip()
    assert all(line == line.rstrip() for line in lines)


def test_a_run_is_shown_in_words_and_tables_not_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(RECORD, why="queued behind another")
    out = capsys.readouterr().out
    assert "{" not in out
    assert "the steps of its plan, or tasks that it handed on, since 2026-01-0" in out
    for told in ("U1 (user by slack)", "3 tokens read, 4 written", "late: too late", "(queued behind another)"):
        assert told in out
    assert "running (1 of 2 items)" in out
    assert "rejected: no" in out
    assert out.count("r2") == 1  # a step of the plan is not told twice
    assert "each[0]" in out
    assert "failures" not in out


@pytest.mark.parametrize(
    ("asked", "how"),
    [
        ({"purpose": "approval", "kind": "confirmation"}, "--approve (or --reject)"),
        ({"purpose": "plan", "kind": "confirmation"}, "yes (or no)"),
        ({"purpose": "budget", "kind": "choice", "options": ["+ $1", "stop"]}, "'+ $1' (or stop)"),
        ({}, "ANSWER"),
    ],
)
def test_how_to_answer_can_be_pasted_into_a_shell(asked: dict[str, object], how: str) -> None:
    assert how_to_answer({**QUESTION, **asked}) == f"callboard clarifications answer q1 {how}"


@pytest.mark.parametrize("given", [b"\xff\xfe", b"", b" \n"])
def test_what_is_no_text_is_wrong_usage_and_nothing_is_sent(
    given: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert run_cli(("run", "echo", "-")) == 2
    assert "TEXT is" in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminal_of_another_encoding_and_a_full_disk_are_no_stack_traces(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from callboard.cli.main import main; main()", "agents", "validate"]
    folder = tmp_path / "config" / "agents"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("name: é\n", encoding="utf-8")
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ascii_only = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, check=False)
    assert (ascii_only.returncode, b"Traceback" in ascii_only.stderr) == (1, False)
    assert b"a.yaml:1:" in ascii_only.stdout
    if not Path("/dev/full").exists():
        return
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (1, b"Error: the output cannot be written: No space left on device\n")
