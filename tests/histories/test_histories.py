"""Runs that an earlier release has begun go on as it would have gone on: the same decisions, from any point."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.agents.engines.place import next_call
from callboard.llm.provider import Message
from tests.histories.history import FOLDER, History, played

HISTORIES = sorted(FOLDER.glob("*.json"))
every_history = pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)


def test_there_are_histories() -> None:
    assert len(HISTORIES) >= 5


@every_history
async def test_I13_a_recorded_run_takes_the_same_decisions_from_any_point(path: Path) -> None:
    history = History.load(path)
    for begin in range(len(history.entries) + 1):
        journal, _ = await played(history, begin)
        assert journal.decisions == [list(each) for each in history.decisions if each[0] >= begin]
        assert tuple(journal.ledger.messages) == history.entries


@every_history
async def test_a_recorded_run_waits_for_the_same_things_in_the_same_order(path: Path) -> None:
    history = History.load(path)
    for count, key in enumerate(history.waits()):
        _, end = await played(history, waited_for=count)
        assert end in (f"asked {key}", f"handed {key}")


@every_history
def test_the_place_of_each_call_is_read_from_the_entries(path: Path) -> None:
    history = History.load(path)
    answered: list[str] = []
    for number, entry in enumerate(history.entries):
        pending = next_call(history.entries[:number], run_id=history.run_id, step="")
        if entry.role == "assistant":
            assert pending is None
        elif entry.role == "tool":
            assert pending is not None
            answered.append(f"{pending.key.text} {pending.call.name}")
            assert pending.call.id == entry.tool_call_id
    decided = [
        " ".join(str(what).split()[1:3]) for _, what in history.decisions if str(what).startswith(("finish", "fail "))
    ]
    # What no tool has seen, as a question or a call that was rejected, is in no ledger.
    assert [each for each in answered if each in decided] == decided


async def test_another_decision_is_noticed() -> None:
    history = History.load(FOLDER / "a-call-that-is-made.json")
    first, *rest = history.entries
    (call,) = first.tool_calls
    other = Message(role="assistant", content="", tool_calls=(type(call)(id=call.id, name="nothing", arguments={}),))
    changed = History(**{**{n: getattr(history, n) for n in history.__slots__}, "entries": (other, *rest)})
    journal, _ = await played(changed)
    assert journal.decisions != [list(each) for each in history.decisions]
