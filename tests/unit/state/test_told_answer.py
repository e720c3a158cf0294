"""An answer reads the same wherever somebody reads it."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.state.told_answer import told_answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        ("Rome", "Rome"),
        ({"approved": True}, "approved"),
        ({"approved": True, "arguments": {"to": "me"}}, 'approved with other arguments: {"to":"me"}'),
        ({"approved": True, "plan": {"steps": []}}, 'approved with another plan: {"steps":[]}'),
        ({"approved": False, "reason": "too soon"}, "rejected: too soon"),
        ({"approved": False}, "rejected"),
        ({"done": True}, "done"),
        ({"done": False}, "not done"),
        ({"city": "Köln", "days": 2}, '{"city":"Köln","days":2}'),
        (7, "7"),
    ],
)
def test_an_answer_is_told_in_words(answer: Any, told: str) -> None:
    assert told_answer(answer) == told
