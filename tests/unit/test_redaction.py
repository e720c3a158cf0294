"""Secrets never come out, in no form (RELIABILITY.md: H6, I9)."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.redaction import REDACTED, Redactor

CANARY = 'xoxb-canary/77+é"x&y z'


def test_H6_a_secret_is_replaced_by_value() -> None:
    assert Redactor([CANARY]).redact(f"before {CANARY} after") == f"before {REDACTED} after"


@pytest.mark.parametrize(
    "form",
    [
        base64.b64encode(CANARY.encode()).decode(),
        base64.urlsafe_b64encode(CANARY.encode()).decode(),
        base64.b64encode(f"user:{CANARY}".encode()).decode(),
        base64.b64encode(f"ab{CANARY}cd".encode()).decode(),
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        quote(quote(CANARY, safe=""), safe=""),
        quote(CANARY, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%C3%A9", "%c3%a9"),
        json.dumps(CANARY),
        json.dumps(json.dumps({"token": CANARY})),
        html.escape(CANARY),
        repr(CANARY),
        CANARY.encode().hex(),
    ],
)
def test_H6_an_encoded_secret_is_replaced(form: str) -> None:
    redactor = Redactor([CANARY])
    assert REDACTED in redactor.redact(f"before {form} after")
    assert "canary" not in redactor.redact(form)


def test_H6_a_secret_broken_over_lines_takes_the_whole_text_with_it() -> None:
    assert Redactor(["xoxb-canary-123"]).redact("token: xoxb-can\n   ary-123") == REDACTED


def test_a_secret_too_short_to_look_for_leaves_text_alone() -> None:
    assert Redactor(["a", "", "  "]).redact("banana") == "banana"


def test_a_secret_added_later_is_looked_for_from_then_on() -> None:
    redactor = Redactor()
    redactor.add("later-secret")
    assert redactor.redact("a later-secret") == f"a {REDACTED}"


def test_of_two_secrets_where_one_holds_the_other_both_go() -> None:
    assert Redactor(["abcd", "abcdefgh"]).redact("abcdefgh abcd") == f"{REDACTED} {REDACTED}"


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 60), st.integers(1, 15))
def test_H12_no_part_of_a_secret_survives_where_a_long_text_is_cut(
    before: int, after: int, times: int, length: int
) -> None:
    secret = "".join(f"S3CRET{number:02}" for number in range(length))
    text = "-" * before + secret * times + "-" * after
    clipped = Redactor([secret]).clip(text, 100)
    kept = clipped.replace(REDACTED, "")
    assert not any(secret[at : at + 4] in kept for at in range(len(secret) - 3))


def test_H12_a_text_of_a_megabyte_keeps_its_beginning_and_its_end() -> None:
    clipped = Redactor(["some-secret"]).clip("begin" + "x" * 1_000_000 + "end", 100)
    assert clipped.startswith("begin")
    assert clipped.endswith("end")
    assert len(clipped) < 160


def test_the_end_of_a_text_may_be_the_beginning_of_a_secret() -> None:
    redactor = Redactor(["xq-geheim-4711"])
    assert redactor.begun("nothing of it") == 0
    assert redactor.begun("the key is xq-gehe") == len("xq-gehe")
    assert redactor.begun("xq-geheim-4711") == 0
    assert Redactor().begun("anything") == 0
