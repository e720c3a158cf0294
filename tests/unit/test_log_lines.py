"""The short way to a log line says what the long one says, and never takes what holds a secret."""

from __future__ import annotations

import json
import logging
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callboard.log_lines import LineFormat
from callboard.redaction import Redactor

SECRETS = ('s3cret"x', "pass word", "ünïcode", "abcd1234")
texts = st.text(max_size=40) | st.sampled_from([f"a {secret} b" for secret in SECRETS])
values = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts, max_size=2)
names = st.sampled_from(["topic", "event_id", "run_id", "trace_id", "level", "duration_ms", "n" * 120]) | texts
fields = st.dictionaries(names, values, max_size=6)


def record(message: str, given_fields: dict[str, Any]) -> logging.LogRecord:
    made = logging.LogRecord("callboard.pool", logging.INFO, "", 0, message, None, None)
    made.fields = given_fields
    return made


@given(message=texts, own=fields, bound=fields)
def test_a_short_line_is_the_careful_one(message: str, own: dict[str, Any], bound: dict[str, Any]) -> None:
    lines = LineFormat(Redactor(SECRETS))
    made = record(message, own)
    plain, careful = lines._plain(made, bound), lines._careful(made, bound)
    if plain is not None:
        assert list(json.loads(plain).items()) == list(json.loads(careful).items())
        assert plain.isprintable()
        assert plain.isascii()


def test_the_ordinary_line_takes_the_short_way() -> None:
    lines = LineFormat(Redactor(SECRETS))
    made = record("run started", {"attempt": 1, "duration_ms": 1.5, "run_id": "a" * 32})
    assert lines._plain(made, {"trace_id": "b" * 32}) is not None
    made = record("event routed", {"topic": "api.invoke.a", "runs": ["c" * 32], "agents": ["a"]})
    assert lines._plain(made, {"trace_id": "b" * 32}) is not None


def test_a_secret_goes_the_long_way_and_is_not_shown() -> None:
    lines = LineFormat(Redactor(SECRETS))
    for secret in SECRETS:
        for said in (f"it is {secret}!", [f"it is {secret}!"]):
            made = record("run started", {"text": said})
            assert lines._plain(made, {}) is None
            assert "[redacted]" in str(json.loads(lines.format(made, {}))["text"])


def test_what_finds_a_secret_finds_the_shortest_form_of_it() -> None:
    redactor = Redactor(["postgresql://me:hidden-word@host/db", "hidden-word"])
    assert redactor.finds_in("see postgresql://me:hidden-word@host/db")
    assert redactor.finds_in("see hidden-word")
    assert not redactor.finds_in("see postgresql://me:other@host/db")
